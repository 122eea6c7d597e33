"""Data sets by name, and the job that checks one."""

from typing import Annotated, Literal, Self

from pydantic import Field

from sdcn_core.config.base import FrozenConfig
from sdcn_core.config.data import DataSource, Name
from service.jobs.base_spec import BaseSpec, refused


class DatasetSpec(FrozenConfig):
    """A data set to register."""

    name: Name
    """what jobs call it"""
    source: DataSource
    """where it is; paths are below the workers' data root (SDCN_DATA_ROOT)"""


class CheckDataSpec(BaseSpec):
    """Open every split of a data set, read every image of it, and count what is there.

    Masks are read of the split that trainings are judged on.
    """

    kind: Literal["check_data"] = "check_data"
    source: DataSource
    """the data set"""

    def resolve(self) -> Self:
        """This job with a name.

        Raises:
            InvalidSpec: it asks for several workers.
        """
        if self.resources.num_workers > 1:
            raise refused("resources.num_workers", "images are read by one process with all its CPUs: ask for 1")
        return self.model_copy(update={"name": self.name or f"check-{self.source.kind}"})

    @property
    def config_digest(self) -> str:
        """Equal for equal requests."""
        return self.digest_without_name()

    @property
    def total_steps(self) -> int:
        """Nothing is trained."""
        return 0


class RegisteredSource(FrozenConfig):
    """A registered data set, in place of a source. It stands for the source as it is when the job is submitted."""

    kind: Literal["registered"] = "registered"
    name: Name
    """from GET /v1/datasets"""


NamedSource = Annotated[DataSource | RegisteredSource, Field(discriminator="kind")]
