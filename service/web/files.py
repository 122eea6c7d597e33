"""What a job or run has left to fetch, with the API's paths."""

import os
from dataclasses import dataclass

from service.api.study_schemas import artifact_url
from service.run_files.artifacts import artifact_names
from service.run_files.folders import RunFiles


@dataclass(frozen=True)
class File:
    name: str
    num_bytes: int
    url: str


def shown_files(files: RunFiles, job_id: str, run: str | None = None) -> tuple[File, ...]:
    """The artifacts, each with the path where the API serves it; a file that vanishes meanwhile is left out.

    None is opened: a page shows sizes and no digests, and a model of hundreds of MB would be read for its digest.
    """
    found = []
    for name in artifact_names(files):
        try:
            size = os.stat(files.artifacts / name, follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
        found.append(File(name, size, artifact_url(job_id, name, run)))
    return tuple(found)
