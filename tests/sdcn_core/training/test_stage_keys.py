"""What a key leaves out must not matter: every field of an experiment is varied, and what keeps the key must keep the
weights, bit by bit.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cache as remembered
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from pydantic import BaseModel, JsonValue, ValidationError

from sdcn_core.config.data import ScenesSource
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.methods import METHODS
from sdcn_core.data.scenes import scenes_folder
from sdcn_core.errors import BadInput
from sdcn_core.training.checkpoint import load_checkpoint
from sdcn_core.training.networks import Weights
from sdcn_core.training.plan import plan_stages
from sdcn_core.training.progress import Stage, TrainingReport
from sdcn_core.training.shared_stages import StageStore, stage_key
from sdcn_core.training.stage_keys import trained_parts
from tests.sdcn_core.training.other_data import write_other_data
from tests.sdcn_core.training.runs import Place, RecordingHooks, train
from tests.sdcn_core.training.small import small_experiment

SDCN = small_experiment(
    **{
        "data.source.train_images": 6,
        "data.source.test_images": 6,
        "model.detection.dropout": 0.3,
        "schedule.backbone.steps": 2,
        "schedule.classifier.steps": 2,
        "schedule.apart_steps": 2,
        "schedule.loop_steps": 2,
        "schedule.decay_at_steps": [1],
        "schedule.warmup_steps": 1,
    }
)
SCENES = ScenesSource.model_validate(SDCN.data.source.model_dump())
VOC: JsonValue = {"kind": "voc", "path": "scenes", "train_split": "train", "test_split": "test"}
LABELS: JsonValue = {"kind": "labels", "path": "labels", "form": "csv"}
COCO: JsonValue = {"kind": "coco", "path": "coco", "train_split": "train", "test_split": "test"}
FILE: JsonValue = {"kind": "file", "path": "boxes.pkl"}
SQUEEZENET: JsonValue = {"kind": "squeezenet1_1", "frozen": "none"}
MOBILENET: JsonValue = {"kind": "mobilenet_v2", "frozen": "none"}

BASES = {
    "sdcn": SDCN,
    "oicr": SDCN.with_overrides(METHODS["oicr"]()),
    "squeezenet": SDCN.with_overrides(
        {"data.source": VOC, "model.backbone": SQUEEZENET, "model.classifier": {"kind": "squeezenet1_1"}}
    ),
    "mobilenet": SDCN.with_overrides(
        {"data.source": VOC, "model.backbone": MOBILENET, "model.classifier": {"kind": "mobilenet_v2"}}
    ),
    "vgg": SDCN.with_overrides({"model.backbone": {"kind": "vgg16_d8"}, "model.classifier": {"kind": "resnet101"}}),
    "labels": SDCN.with_overrides({"data.source": LABELS, "data.proposals": FILE}),
    "coco": SDCN.with_overrides({"data.source": COCO}),
}
"""Together they have every field."""

HAND_MADE: dict[str, dict[str, JsonValue]] = {
    "data.source[scenes].kind": {"data.source": VOC},
    "data.source[voc].kind": {"data.source": {"kind": "scenes"}},
    "data.source[voc].path": {"data.source.path": "elsewhere"},
    "data.source[voc].train_split": {"data.source.train_split": "val"},
    "data.source[voc].test_split": {"data.source.test_split": "val"},
    "data.source[labels].kind": {"data.source": VOC},
    "data.source[labels].path": {"data.source.path": "elsewhere"},
    "data.source[labels].train_split": {"data.source.train_split": "val"},
    "data.source[labels].test_split": {"data.source.test_split": "val"},
    "data.source[labels].annotations": {"data.source.annotations": "boxes"},
    "data.source[coco].kind": {"data.source": VOC},
    "data.source[coco].path": {"data.source.path": "elsewhere"},
    "data.source[coco].annotations": {"data.source.annotations": "elsewhere.json"},
    "data.source[coco].images": {"data.source.images": "elsewhere"},
    "data.source[coco].train_split": {"data.source.train_split": "val"},
    "data.source[coco].test_split": {"data.source.test_split": "val"},
    "data.proposals[selective_search].kind": {"data.proposals": FILE},
    "data.proposals[file].kind": {"data.proposals": {"kind": "selective_search"}},
    "data.proposals[file].path": {"data.proposals.path": "others.pkl"},
    "model.backbone[small_vgg].kind": {"model.backbone": SQUEEZENET},
    "model.backbone[squeezenet1_1].kind": {"model.backbone": {"kind": "small_vgg"}},
    "model.backbone[squeezenet1_1].weights": {"model.backbone.weights": {"path": "weights.npz"}},
    "model.backbone[mobilenet_v2].kind": {"model.backbone": {"kind": "small_vgg"}},
    "model.backbone[mobilenet_v2].weights": {"model.backbone.weights": {"path": "weights.npz"}},
    "model.backbone[vgg16_d8].kind": {"model.backbone": {"kind": "small_vgg"}},
    "model.backbone[vgg16_d8].weights": {"model.backbone.weights": {"path": "weights.pth"}},
    "model.classifier[small_resnet].kind": {"model.classifier": {"kind": "squeezenet1_1"}},
    "model.classifier[squeezenet1_1].kind": {"model.classifier": {"kind": "small_resnet"}},
    "model.classifier[mobilenet_v2].kind": {"model.classifier": {"kind": "small_resnet"}},
    "objective.segmentation_branch": METHODS["oicr"](),
    "evaluation.comp4": {"evaluation.comp4": "VOC2012"},
}
"""Fields whose other values follow from no type: they need a file, or other fields with them."""

NOT_VARIED = {
    "data.proposals[file].for_new_images.kind": "there is one",
    "model.classifier[squeezenet1_1].weights": "a file of weights would have to be there for the run",
    "model.classifier[mobilenet_v2].weights": "likewise",
    "model.classifier[resnet101].weights": "likewise",
    "model.classifier[resnet101].kind": "the runs of VGG16 that it asks for take too long",
    "model.classifier[resnet101].convention": "likewise",
    "second_stage": "it makes another training, which shares nothing but its label stage (test_second_stage.py)",
    "model.classifier[resnet101].recompute_blocks": "likewise",
    "model.classifier[resnet101].mask_chunk": "likewise",
}


# --- fields


def models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def fields_of(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    """(name, annotation) of every leaf; a choice of models is written `model.backbone[small_vgg].widths`."""
    for name, info in model.model_fields.items():
        inner = models_in(info.annotation)
        optional = type(None) in get_args(info.annotation)
        if not inner or optional:
            yield f"{path}{name}", info.annotation
        for choice in () if optional else inner:
            kind = f"[{choice.model_fields['kind'].default}]" if len(inner) > 1 else ""
            yield from fields_of(choice, f"{path}{name}{kind}.")


FIELDS = dict(fields_of(ExperimentConfig))


def path_of(name: str) -> str:
    """`model.backbone[small_vgg].widths` -> `model.backbone.widths`."""
    head, bracket, tail = name.partition("[")
    return head + tail.partition("]")[2] if bracket else name


def value_at(experiment: ExperimentConfig, name: str) -> JsonValue:
    """The field's value.

    Raises:
        LookupError: the experiment chose other models and has no such field.
    """
    value: Any = experiment.model_dump(mode="json")
    chosen, _, kind = name.partition("]")[0].partition("[")
    steps = path_of(name).split(".")
    for number, step in enumerate(steps, start=1):
        value = value[step]
        if kind and ".".join(steps[:number]) == chosen and value["kind"] != kind:
            raise KeyError(name)
    return value


def has(experiment: ExperimentConfig, name: str) -> bool:
    try:
        value_at(experiment, name)
    except LookupError:
        return False
    return True


def literals_in(annotation: object) -> list[JsonValue]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [member.value for member in annotation]
    return [value for part in get_args(annotation) for value in literals_in(part)]


def candidates(value: JsonValue, annotation: object) -> list[JsonValue]:
    """Other values, as the value's type suggests them; some will be refused."""
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1, 2 * value, value // 2]
        case float():
            return [value / 2, value * 1.5, value + 0.1]
        case list():
            first = value[0] * 2 if value and isinstance(value[0], int) else 1
            return [[first, *value[1:]], [*value, *value], value[:-1]]
        case None:
            return [*literals_in(annotation), 1, 2, 0.5, 16, [64], ["cube", "cone"]]
        case _:
            return literals_in(annotation)


def other_value(experiment: ExperimentConfig, name: str) -> ExperimentConfig | None:
    """The experiment with another value in one field; None where no value comes to mind."""
    if name in HAND_MADE:
        return experiment.with_overrides(HAND_MADE[name])
    path, value = path_of(name), value_at(experiment, name)
    for candidate in candidates(value, FIELDS[name]):
        try:
            other = experiment.with_overrides({path: candidate})
        except (ValidationError, ValueError):
            continue
        if other != experiment:
            return other
    return None


def varied() -> Iterator[tuple[str, str]]:
    """(base, field): the first two bases whole, the others where they have fields of their own."""
    seen: set[str] = set()
    for base, experiment in BASES.items():
        for name in FIELDS:
            wanted = name not in NOT_VARIED and has(experiment, name) and (base in ("sdcn", "oicr") or name not in seen)
            if wanted and other_value(experiment, name) is not None:
                seen.add(name)
                yield base, name


VARIED = tuple(varied())


# --- runs


@dataclass
class StageHooks(RecordingHooks):
    """Keeps the weights at the end of every stage."""

    experiment: ExperimentConfig = SDCN
    weights: dict[Stage, Weights] = field(default_factory=dict)

    def report(self, report: TrainingReport, checkpoint: Path | None) -> None:
        super().report(report, checkpoint)
        if report.progress.step == report.progress.stage_steps and self.checkpoint is not None:
            loaded = load_checkpoint(self.checkpoint, self.experiment, device=torch.device("cpu"))
            self.weights[report.progress.stage] = loaded.networks


class Bench:
    """Trains in one folder, each base once."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.number = 0
        self.of_base = remembered(lambda name: self.train(BASES[name], plan_stages(BASES[name])[-1].stage))

    def train(self, experiment: ExperimentConfig, until: Stage) -> dict[Stage, Weights]:
        self.number += 1
        place = Place.below(self.base / str(self.number), self.base / "cache")
        scenes = scenes_folder(SCENES, cache=place.roots.cache)
        if scenes.is_dir():  # the first run draws them
            shutil.copytree(scenes, place.roots.data / "scenes")  # in VOC layout, as a data set that somebody put there
            write_other_data(scenes, place.roots.data)
        hooks = StageHooks(place.base, experiment=experiment)
        train(experiment, place, hooks, stages=StageStore(place.base / "states"), until=until)
        return hooks.weights


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("bench"))
    bench.of_base("sdcn")  # draws the scenes that the others find
    return bench


def keys_of(experiment: ExperimentConfig) -> dict[Stage, str]:
    return {plan.stage: stage_key(experiment, plan.stage, num_workers=1) for plan in plan_stages(experiment)}


def test_every_field_is_varied_or_listed_with_a_reason() -> None:
    assert {name for _, name in VARIED} | NOT_VARIED.keys() == FIELDS.keys()


@pytest.mark.parametrize(("base", "name"), VARIED, ids=[f"{base}-{name}" for base, name in VARIED])
def test_a_field_that_leaves_the_key_leaves_the_weights(bench: Bench, base: str, name: str) -> None:
    other = other_value(BASES[base], name)
    assert other is not None
    ours, theirs = keys_of(BASES[base]), keys_of(other)
    same = [stage for stage, key in ours.items() if theirs.get(stage) == key]
    if not same:
        return
    expected, found = bench.of_base(base), bench.train(other, same[-1])
    for stage in same:
        for part in trained_parts(BASES[base], stage):
            for weight, value in expected[stage][part].items():
                assert torch.equal(found[stage][part][weight], value), f"{part}.{weight} after {stage}"


def test_the_bench_sees_a_difference(bench: Bench) -> None:
    other = bench.train(SDCN.with_overrides({"objective.lambda_cls": 0.2}), Stage.APART)
    trained = bench.of_base("sdcn")
    assert torch.equal(
        other[Stage.BACKBONE]["backbone"]["blocks.0.0.conv.weight"],
        trained[Stage.BACKBONE]["backbone"]["blocks.0.0.conv.weight"],
    )
    assert not torch.equal(
        other[Stage.APART]["backbone"]["blocks.0.0.conv.weight"],
        trained[Stage.APART]["backbone"]["blocks.0.0.conv.weight"],
    )


# --- what a key must leave out, and what it must not

WITHOUT_EFFECT_APART = [
    "objective.segmentation_instructs_detection",
    "objective.detection_instructs_segmentation",
    "objective.lambda_seg",
    "objective.tau_0",
    "objective.pixel_fraction",
    "objective.segmentation_prior",
    "objective.surrounding_scale",
    "objective.binarization",
    "objective.binarization_threshold",
    "objective.region_overlap",
    "objective.min_region_cells",
    "schedule.loop_steps",
    "schedule.decay_at_steps",
    "schedule.decay_factor",
    "schedule.report_every_steps",
    "schedule.checkpoint_every_steps",
    "schedule.gradient_norms_every_steps",
    "data.source[scenes].test_split",
    *(name for name in FIELDS if name.startswith("evaluation.")),
]
WITHOUT_EFFECT_ON_LABELS = [
    *WITHOUT_EFFECT_APART,
    "data.sampled_proposals",
    "data.proposals[selective_search].limit",
    "model.detection.hidden",
    "model.segmentation.channels",
    "objective.lambda_mil",
    "objective.lambda_adv",
    "schedule.apart_steps",
    "schedule.learning_rate",
    "schedule.images_per_step",
]


@pytest.mark.parametrize("name", WITHOUT_EFFECT_APART)
def test_stage_apart_is_shared_by_experiments_that_differ_in_what_acts_later(name: str) -> None:
    other = other_value(SDCN, name)
    assert other is not None
    assert stage_key(other, Stage.APART, num_workers=1) == stage_key(SDCN, Stage.APART, num_workers=1)


@pytest.mark.parametrize("name", WITHOUT_EFFECT_ON_LABELS)
def test_label_stages_are_shared_by_experiments_that_differ_in_the_branches(name: str) -> None:
    other = other_value(SDCN, name)
    assert other is not None
    assert stage_key(other, Stage.CLASSIFIER, num_workers=1) == stage_key(SDCN, Stage.CLASSIFIER, num_workers=1)


def test_oicr_and_sdcn_share_the_backbone_and_nothing_more() -> None:
    ours, theirs = keys_of(SDCN), keys_of(BASES["oicr"])
    assert {stage for stage in ours if theirs.get(stage) == ours[stage]} == {Stage.BACKBONE}


def test_oicr_knows_no_field_of_the_segmentation_branch() -> None:
    oicr = BASES["oicr"]
    for path, value in {
        "objective.lambda_cls": 0.5,
        "objective.presence_fraction": 0.5,
        "model.segmentation.channels": 32,
        "model.classifier.widths": [8, 8, 8, 8, 8],
        "schedule.classifier_learning_rate": 1e-3,
        "schedule.segmentation_factor": 2.0,
    }.items():
        assert keys_of(oicr.with_overrides({path: value})) == keys_of(oicr), path


@pytest.mark.parametrize(
    "name", ["objective.lambda_mil", "objective.lambda_ref", "objective.lambda_adv", "objective.lambda_cls"]
)
def test_a_weight_that_acts_apart_is_in_its_key(name: str) -> None:
    other = other_value(SDCN, name)
    assert other is not None
    assert stage_key(other, Stage.APART, num_workers=1) != stage_key(SDCN, Stage.APART, num_workers=1)


def test_a_key_knows_the_stages_before_and_the_number_of_ranks() -> None:
    later = SDCN.with_overrides({"schedule.backbone.learning_rate": 1e-5})
    assert all(keys_of(later)[stage] != key for stage, key in keys_of(SDCN).items())
    assert stage_key(SDCN, Stage.APART, num_workers=2) != stage_key(SDCN, Stage.APART, num_workers=1)


def test_a_stage_that_is_not_trained_has_no_key() -> None:
    with pytest.raises(BadInput, match="no training stage 'classifier'"):
        stage_key(BASES["oicr"], Stage.CLASSIFIER, num_workers=1)
