import json
import re
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from pydantic import JsonValue

from sdcn_core.config.methods import METHODS
from sdcn_core.config.presets import preset
from service.jobs.ablation_spec import AblationSpec
from service.jobs.inference_specs import EvaluateSpec, PredictSpec
from service.jobs.specs import JobSpec
from service.jobs.sweep_spec import SweepSpec
from service.jobs.train_spec import TrainSpec
from workers.spool import MetricsEvent
from workers.tracking.parameters import parameters_of
from workers.tracking.registered_name import registered_name
from workers.tracking.run_writer import POINTS_PER_SERIES, new_points
from workers.tracking.tracked_run import tracked_job

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (TrainSpec(preset="tiny"), {"train.export": "true", "objective.tau_0": "0.5", "resources.num_workers": "1"}),
        (
            AblationSpec(preset="tiny", study="table-2"),
            {"ablation.base_variant": "oicr", "ablation.variants.sdcn": json.dumps(METHODS["sdcn"]())},
        ),
        (
            SweepSpec(preset="tiny", study="figure-5"),
            {"sweep.metric": "eval/mean_ap", "sweep.search.kind": "one_at_a_time"},
        ),
        (
            EvaluateSpec(model="abc", overrides={"evaluation.flip": False}),
            {"evaluate.model": "abc", "evaluate.overrides.evaluation.flip": "false", "evaluate.source": "null"},
        ),
        (PredictSpec(model="abc", folder="images"), {"predict.folder": "images", "predict.max_boxes": "100"}),
    ],
    ids=lambda value: value.kind if not isinstance(value, dict) else "",
)
def test_every_kind_of_job_has_parameters(spec: JobSpec, expected: dict[str, str]) -> None:
    tracked = tracked_job("job", spec.resolve(), NOW)
    assert expected.items() <= tracked.parameters.items()
    assert tracked.tags["sdcn.kind"] == spec.kind
    assert tracked.config_digest == spec.resolve().config_digest


def test_a_searched_field_keeps_its_domain_in_one_parameter() -> None:
    parameters = parameters_of(SweepSpec(preset="tiny", study="figure-5").resolve())
    assert parameters["sweep.space.objective.lambda_adv"] == '{"kind": "choice", "values": [0.01, 0.1, 1.0, 10.0]}'


def test_only_a_training_is_registered() -> None:
    trained = TrainSpec(preset="tiny").resolve()
    assert tracked_job("job", trained, NOW).registered_model == registered_name(preset("tiny"))
    assert tracked_job("job", AblationSpec(preset="tiny", study="table-2").resolve(), NOW).registered_model is None


@pytest.mark.parametrize(
    ("path", "name"),
    [("VOC2007", "sdcn-VOC2007"), ("a b/c:d/", "sdcn-a-b-c-d"), ("x" * 255, "sdcn-" + "x" * 200)],
    ids=lambda text: text[:12],
)
def test_a_data_sets_path_becomes_a_name_that_mlflow_takes(path: str, name: str) -> None:
    experiment = preset("scenes").with_overrides({"data.source": {"kind": "voc", "path": path}})
    assert re.fullmatch(re.escape(name) + "-[0-9a-f]{6}", registered_name(experiment))


@pytest.mark.parametrize(
    "otherwise",
    [
        {"data.source.test_split": "val"},
        {"data.source.test_images": 8},
        {"data.source.seed": 1},
        {"evaluation.test_scales_px": [96]},
        {"evaluation.test_side": "shortest"},
        {"evaluation.flip": False},
        {"evaluation.nms_iou": 0.4},
        {"evaluation.boxes_per_class": 10},
        {"evaluation.boxes_per_image_cap": 4},
        {"evaluation.protocol": "pcl"},
        {"evaluation.protocol": "pcl", "evaluation.pcl.boxes_per_image": 10},
        {"evaluation.ap": "area"},
        {"evaluation.rounded": True},
        {"evaluation.match_iou": 0.1},
    ],
    ids=lambda overrides: next(iter(overrides)),
)
def test_what_decides_a_mean_ap_is_in_the_name(otherwise: dict[str, JsonValue]) -> None:
    assert registered_name(preset("scenes").with_overrides(otherwise)) != registered_name(preset("scenes"))


def test_what_a_training_does_and_what_is_only_shown_is_not_in_the_name() -> None:
    trained_otherwise = {"seed": 3, "objective.tau_0": 0.3, "schedule.loop_steps": 7, "data.sampled_proposals": 9}
    shown_otherwise = {"evaluation.every_steps": 5, "evaluation.baselines": False, "evaluation.pictured_images": 2}
    shown_otherwise |= {"evaluation.coco": True, "evaluation.comp4": "VOC2012"}
    other = preset("scenes").with_overrides({**trained_otherwise, **shown_otherwise})
    assert registered_name(other) == registered_name(preset("scenes"))


def test_a_long_series_is_thinned_evenly() -> None:
    last_steps: dict[str, int] = {}
    events = [MetricsEvent(global_step=step, values={"loss/mil": 0.0}) for step in range(20, 100_001, 20)]
    spacing = 100_000 // POINTS_PER_SERIES
    steps = [point.step for half in (events[:2500], events[2500:]) for point in new_points(half, last_steps, spacing)]
    assert len(steps) <= POINTS_PER_SERIES
    assert {after - before for before, after in pairwise(steps)} == {60}
