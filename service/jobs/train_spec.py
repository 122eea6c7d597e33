"""A job of kind `train`."""

from typing import Literal, Self

from service.jobs.base_spec import ExperimentSpec, refuse, total_steps, unshareable


class TrainSpec(ExperimentSpec):
    """Train SDCN (or, without its segmentation branch, OICR) once, and judge it."""

    kind: Literal["train"] = "train"
    export: bool = True
    """also write the trained detector as ONNX and as a torch.export program"""

    def resolve(self) -> Self:
        """This job with preset and overrides folded into a full `experiment`; resolving again changes nothing.

        Raises:
            InvalidSpec: unknown preset, an override the experiment refuses, or numbers that do not fit together.
        """
        experiment = self.fold()
        if problems := unshareable(experiment, self.resources.num_workers):
            raise refuse(problems)
        return self.model_copy(
            update={"name": self.name or self.preset, "preset": None, "experiment": experiment, "overrides": {}}
        )

    @property
    def config_digest(self) -> str:
        """Equal for equal experiments."""
        return self.resolved_experiment.digest()

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all stages."""
        return total_steps(self.resolved_experiment)
