"""What decides the weights after a stage: the name under which runs share it.

A key is made of everything but what is named here as without effect, so that a new field keeps runs apart until
somebody shows that it may not.
"""

import hashlib
import json

from pydantic import JsonValue

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.scenes import GENERATOR_VERSION
from sdcn_core.errors import BadInput
from sdcn_core.training.networks import Part
from sdcn_core.training.plan import StagePlan, plan_stages
from sdcn_core.training.progress import Stage

METHOD_VERSION = 3
"""raised with every change of what a stage computes, so that no store hands out what older code trained"""
KEY_DIGITS = 24

JUDGED_DATA = frozenset({"test_split", "test_images"})
"""of data.source: training never opens them, and scenes are drawn split by split"""
PROPOSAL_DATA = frozenset({"proposals", "sampled_proposals", "dedup_px"})
"""of data: stages that learn image labels read no proposals"""
LABEL_OBJECTIVE = frozenset({"classifier_reduction"})
"""of objective: the one field by which image labels are learnt, by f^E as well as by f^C"""
SEGMENTATION_OBJECTIVE = frozenset(
    {
        "lambda_adv",
        "lambda_cls",
        "presence_fraction",
        "adversarial_reduction",
        "classifier_reduction",
        "classifier_sees_background_erased",
    }
)
"""of objective: what f^S and f^C alone are asked for"""
LOOP_OBJECTIVE = frozenset(
    {
        "segmentation_instructs_detection",
        "detection_instructs_segmentation",
        "lambda_seg",
        "tau_0",
        "pixel_fraction",
        "segmentation_prior",
        "surrounding_scale",
        "binarization",
        "binarization_threshold",
        "region_overlap",
        "min_region_cells",
    }
)
"""of objective: what acts through an arrow; all arrows need a segmentation branch"""
SEGMENTATION_SCHEDULE = frozenset({"segmentation_factor", "classifier_learning_rate"})
LOOP_SCHEDULE = frozenset({"loop_steps", "decay_at_steps", "decay_factor"})
LABEL_SCHEDULE = frozenset({"backbone", "classifier"})
"""of schedule, from stage apart on: they are in the keys of their own stages"""
WATCHING = frozenset({"report_every_steps", "checkpoint_every_steps", "gradient_norms_every_steps"})
"""of schedule: what is looked at and kept on the way"""


def stage_key(experiment: ExperimentConfig, stage: Stage, *, num_workers: int) -> str:
    """24 hex digits that two runs share where they have the same weights after the stage, and the stages before it.

    The key knows the configuration and the number of ranks (each draws its own dropout), not what lies in the files
    that the configuration names, nor the machine, whose kind and threads decide about rounding.

    Raises:
        BadInput: the experiment has no such training stage, or it is that of a second stage.
    """
    values = [_values(experiment, plan) for plan in plan_stages(experiment, until=stage)]
    canonical = json.dumps(
        [METHOD_VERSION, GENERATOR_VERSION, experiment.seed, num_workers, values], sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:KEY_DIGITS]


def trained_parts(experiment: ExperimentConfig, stage: Stage) -> tuple[Part, ...]:
    """What the stages up to this one have trained: the rest is still as it was initialized.

    Raises:
        BadInput: the experiment has no such training stage.
    """
    trained: set[Part] = set()
    for plan in plan_stages(experiment, until=stage):
        trained |= _trained_by(plan.stage, segmentation_branch=experiment.objective.segmentation_branch)
    return tuple(part for part in Part if part in trained)


def _trained_by(stage: Stage, *, segmentation_branch: bool) -> set[Part]:
    match stage:
        case Stage.BACKBONE:
            return {Part.BACKBONE, Part.LABEL_HEAD}
        case Stage.CLASSIFIER:
            return {Part.CLASSIFIER}
        case _:
            detector = {Part.BACKBONE, Part.DETECTION}
            return detector | {Part.SEGMENTATION, Part.CLASSIFIER} if segmentation_branch else detector


def _values(experiment: ExperimentConfig, plan: StagePlan) -> dict[str, JsonValue]:
    """What decides the change that one stage makes."""
    match plan.stage:
        case Stage.BACKBONE | Stage.CLASSIFIER:
            own = _label_stage(experiment, plan.stage)
        case Stage.FAST_RCNN:
            raise BadInput("a second stage learns from boxes that its configuration does not name: runs share none")
        case _:
            own = _branches_stage(experiment, plan.stage)
    return {"stage": plan.stage.value, **own}


def _label_stage(experiment: ExperimentConfig, stage: Stage) -> dict[str, JsonValue]:
    network = stage.value  # the stages are called as the fields of the network that they train
    return {
        "data": _data(experiment, without=PROPOSAL_DATA),
        "model": experiment.model.model_dump(mode="json", include={network}),
        "objective": experiment.objective.model_dump(mode="json", include=set(LABEL_OBJECTIVE)),
        "schedule": experiment.schedule.model_dump(mode="json", include={network, "momentum", "precision"}),
    }


def _branches_stage(experiment: ExperimentConfig, stage: Stage) -> dict[str, JsonValue]:
    model: set[str] = set()
    objective: set[str] = set()
    schedule = set(LABEL_SCHEDULE | WATCHING)
    if stage is Stage.APART:
        objective |= LOOP_OBJECTIVE
        schedule |= LOOP_SCHEDULE
    if not experiment.objective.segmentation_branch:
        model |= {"segmentation", "classifier"}
        objective |= SEGMENTATION_OBJECTIVE | LOOP_OBJECTIVE
        schedule |= SEGMENTATION_SCHEDULE
    return {
        "data": _data(experiment, without=frozenset()),
        "model": experiment.model.model_dump(mode="json", exclude=model),
        "objective": experiment.objective.model_dump(mode="json", exclude=objective),
        "schedule": experiment.schedule.model_dump(mode="json", exclude=schedule),
    }


def _data(experiment: ExperimentConfig, *, without: frozenset[str]) -> dict[str, JsonValue]:
    data = experiment.data
    return data.model_dump(mode="json", exclude={"source", *without}) | {
        "source": data.source.model_dump(mode="json", exclude=set(JUDGED_DATA))
    }
