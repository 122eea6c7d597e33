"""What every report says at its top and at its end: what was run, on which data, when, and how to run it again."""

from dataclasses import dataclass
from pathlib import Path

from sdcn_core.config.data import DataSource, ScenesSource
from service.jobs.base_spec import ExperimentSpec
from service.jobs.second_stage_spec import SecondStageSpec
from workers.reporting.series import Told


@dataclass(frozen=True)
class About:
    job_id: str
    name: str
    kind: str
    digest: str
    data: str
    facts: tuple[tuple[str, str], ...]
    told: Told
    body: str
    """with which the same job is asked for again: JSON"""


def about(job_id: str, spec: ExperimentSpec | SecondStageSpec, digest: str, kind: str, told: Told) -> About:
    """What can be said of a job from its resolved spec and its spools."""
    experiment = spec.resolved_experiment
    schedule, model, objective = experiment.schedule, experiment.model, experiment.objective
    arrows = [
        name
        for name, on in (
            ("segmentation instructs detection", objective.segmentation_instructs_detection),
            ("detection instructs segmentation", objective.detection_instructs_segmentation),
        )
        if on
    ]
    of_method: tuple[tuple[str, str], ...] = (
        ("refinements", str(model.detection.refinements)),
        ("segmentation branch", "yes" if objective.segmentation_branch else "no"),
        ("collaboration", ", ".join(arrows) or "none"),
        ("optimizer steps", f"{schedule.apart_steps} apart, {schedule.loop_steps} in the loop"),
    )
    if isinstance(spec, SecondStageSpec):
        assert experiment.second_stage is not None  # its spec sees to it
        of_method = (("taught by", spec.model), ("optimizer steps", str(experiment.second_stage.steps)))
    facts = (
        ("backbone", model.backbone.kind),
        *of_method,
        ("images a step", str(schedule.images_per_step)),
        ("workers", str(spec.resources.num_workers)),
    )
    return About(
        job_id=job_id,
        name=spec.name or job_id,
        kind=kind,
        digest=digest,
        data=data_words(experiment.data.source),
        facts=facts,
        told=told,
        body=spec.model_dump_json(indent=2, exclude={"preset", "overrides"}),
    )


def data_words(source: DataSource) -> str:
    """A data set in a line.

    >>> data_words(ScenesSource(train_images=60, test_images=30))
    'generated scenes (parts), seed 0: 60 images of train, judged on 30 of test'
    """
    if isinstance(source, ScenesSource):
        judged = source.val_images if source.test_split == "val" else source.test_images
        return (
            f"generated scenes ({source.layout}), seed {source.seed}: {source.train_images} images of"
            f" {source.train_split}, judged on {judged} of {source.test_split}"
        )
    return f"{source.path}: trained on {source.train_split}, judged on {source.test_split}"


def artifacts_of(run_path: Path) -> Path:
    """Where a job, or a run of a study, keeps its files."""
    folder = run_path / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
