"""What a valid job may still be warned about before it costs hours; the answer to ?validate_only=true carries it."""

from sdcn_core.config.data import LabelsSource
from service.jobs.base_spec import ExperimentSpec
from service.jobs.specs import JobSpec


def warnings(spec: JobSpec) -> tuple[str, ...]:
    """Sentences on a resolved spec, each with its way out; empty when nothing looks odd."""
    return _on_experiment(spec) if isinstance(spec, ExperimentSpec) else ()


def _on_experiment(spec: ExperimentSpec) -> tuple[str, ...]:
    experiment = spec.resolved_experiment
    schedule, model = experiment.schedule, experiment.model
    said: list[str] = []
    source = experiment.data.source
    if isinstance(source, LabelsSource) and source.annotations is None:
        said.append(
            "data.source has labels and no boxes: AP and CorLoc cannot be counted, results have detections and"
            " classification AP; data.source.annotations names a folder of boxes where some are known"
        )
    if getattr(model.backbone, "weights", None) is None and schedule.backbone.steps == 0:
        said.append(
            "model.backbone has no pretrained weights and schedule.backbone.steps is 0: it starts the detection"
            " from random features; give weights, or some steps on image labels"
        )
    adversarial = experiment.objective.segmentation_branch
    if adversarial and getattr(model.classifier, "weights", None) is None and schedule.classifier.steps == 0:
        said.append(
            "model.classifier has no pretrained weights and schedule.classifier.steps is 0: an untrained classifier"
            " cannot tell the segmentation branch anything; give weights, or some steps"
        )
    if late := [step for step in schedule.decay_at_steps if step >= schedule.loop_steps]:
        said.append(f"schedule.decay_at_steps {late} lie behind the end of stage loop ({schedule.loop_steps} steps)")
    if spec.max_attempts > 1 and schedule.checkpoint_every_steps >= schedule.apart_steps + schedule.loop_steps:
        said.append(
            f"schedule.checkpoint_every_steps ({schedule.checkpoint_every_steps}) is as long as the training: a second"
            " attempt would start from the beginning"
        )
    if model.backbone.kind == "vgg16_d8" and spec.resources.gpus_per_worker == 0:
        said.append("VGG16 without a GPU takes minutes a step: set resources.gpus_per_worker, or a small backbone")
    return tuple(said)
