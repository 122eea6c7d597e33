"""What a job or run has left to fetch, with the API's paths."""

from dataclasses import dataclass

from service.api.study_schemas import artifact_url
from service.run_files.artifacts import list_artifacts
from service.run_files.folders import RunFiles


@dataclass(frozen=True)
class File:
    name: str
    num_bytes: int
    url: str


def shown_files(files: RunFiles, job_id: str, run: str | None = None) -> tuple[File, ...]:
    """The artifacts, each with the path where the API serves it."""
    return tuple(
        File(found.name, found.num_bytes, artifact_url(job_id, found.name, run)) for found in list_artifacts(files)
    )
