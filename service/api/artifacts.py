"""The files of a job or run: listed with their digests, and streamed; and the table of a study."""

from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from service.api.dependencies import NO_PARAMETERS, JobId, Parameters, QueueDep, SettingsDep
from service.api.documentation import problems
from service.api.ranges import wanted_part
from service.api.study_runs import RunName
from service.api.study_schemas import describe_artifact
from service.errors import ArtifactNotFound, TableNotReady
from service.jobs.answers import ArtifactList
from service.queue.records import Job
from service.run_files.artifacts import OCTETS, OpenArtifact, list_artifacts, open_artifact
from service.run_files.folders import job_files

router = APIRouter(prefix="/v1/jobs", tags=["artifacts"])

BLOCK_BYTES = 256 * 1024
# What a job left is shown by browsers, but is no page of the service: it runs no script and reaches nothing. The report
# is one file with its styles and pictures inside.
CONTENT_SECURITY_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'none'"
)
_TABLES = {
    "ablation": {"markdown": "table.md", "latex": "table.tex", "csv": "table.csv", "json": "table.json"},
    "sweep": {"markdown": "table.md", "csv": "trials.csv", "json": "trials.json"},
}
_ANYTHING: dict[str, Any] = {}
"""a file's bytes, by a media type of its own; of JSON they are an object, so that `string` would not be true"""
_PARTS: dict[int | str, dict[str, Any]] = {
    206: {"description": "The part of it that was asked for", "content": {"*/*": _ANYTHING}},
    304: {"description": "The copy at hand is the file"},
}
_NO_PART = "the part that was asked for begins behind the end"


class ArtifactParameters(Parameters):
    run: RunName | None = None
    """of a study; none: the job's own"""


class TableParameters(Parameters):
    format: Literal["markdown", "latex", "csv", "json"] = "markdown"


class Conditions(BaseModel):
    """What a client has of the file already."""

    model_config = ConfigDict(frozen=True)

    if_none_match: str | None = Field(default=None, max_length=1000, description="the ETag of a copy that is at hand")
    range: str | None = Field(default=None, max_length=200, description="bytes=FIRST-LAST: one part of the file")
    if_range: str | None = Field(default=None, max_length=200, description="the ETag for which the range is meant")


ConditionsDep = Annotated[Conditions, Header()]


class _File(StreamingResponse):
    """For the document: what is sent is of the file's own type."""

    media_type = OCTETS


@router.get("/{job_id}/artifacts", responses=problems(_404="no such job or run", _422="a parameter is not valid"))
def get_artifacts(
    job_id: JobId, parameters: Annotated[ArtifactParameters, Query()], queue: QueueDep, settings: SettingsDep
) -> ArtifactList:
    """The files that a job or a run has left so far, with their digests."""
    queue.get(job_id)
    found = list_artifacts(job_files(settings.runs, job_id, parameters.run))
    return ArtifactList(artifacts=tuple(describe_artifact(artifact, job_id, parameters.run) for artifact in found))


@router.get(
    "/{job_id}/artifacts/{name}",
    response_class=_File,
    responses={
        200: {"description": "The file, of its own type; its SHA-256 is the ETag", "content": {"*/*": _ANYTHING}},
        **_PARTS,
        **problems(_404="no such job, run or artifact", _416=_NO_PART, _422="a parameter is not valid"),
    },
)
def get_artifact(
    job_id: JobId,
    name: Annotated[str, Path(max_length=200)],
    parameters: Annotated[ArtifactParameters, Query()],
    queue: QueueDep,
    settings: SettingsDep,
    conditions: ConditionsDep,
) -> Response:
    """One of the files."""
    queue.get(job_id)
    return _send(open_artifact(job_files(settings.runs, job_id, parameters.run), name), conditions)


@router.get(
    "/{job_id}/runs/{run}/artifacts/{name}",
    dependencies=[NO_PARAMETERS],
    response_class=_File,
    responses={
        200: {"description": "The file, of its own type; its SHA-256 is the ETag", "content": {"*/*": _ANYTHING}},
        **_PARTS,
        **problems(_404="no such job, run or artifact", _416=_NO_PART),
    },
)
def get_run_artifact(
    job_id: JobId,
    run: Annotated[RunName, Path()],
    name: Annotated[str, Path(max_length=200)],
    queue: QueueDep,
    settings: SettingsDep,
    conditions: ConditionsDep,
) -> Response:
    """One of a run's files, where a study's report looks for it."""
    queue.get(job_id)
    return _send(open_artifact(job_files(settings.runs, job_id, run), name), conditions)


@router.get(
    "/{job_id}/table",
    response_class=_File,
    responses={
        200: {"description": "The table in the format that was asked for", "content": {"*/*": _ANYTHING}},
        **_PARTS,
        **problems(_404="no such job", _409="no table is there (yet)", _416=_NO_PART, _422="a parameter is not valid"),
    },
)
def get_table(
    job_id: JobId,
    parameters: Annotated[TableParameters, Query()],
    queue: QueueDep,
    settings: SettingsDep,
    conditions: ConditionsDep,
) -> Response:
    """The table of an ablation, or the trials of a sweep."""
    job = queue.get(job_id)
    name = _table_name(job, parameters.format)
    try:
        table = open_artifact(job_files(settings.runs, job_id), name)
    except ArtifactNotFound:
        way_out = "it has left none" if job.state.is_terminal else "it is written at the end; ask again later"
        raise TableNotReady(f"job {job_id} has no table: it is {job.state}, and {way_out}") from None
    return _send(table, conditions)


def _table_name(job: Job, wanted: str) -> str:
    """The table's file.

    Raises:
        TableNotReady: jobs of this kind have none, or none of this format.
    """
    tables = _TABLES.get(job.kind)
    if tables is None:
        raise TableNotReady(f"job {job.job_id} is of kind {job.kind}: only an ablation and a sweep have a table")
    if wanted not in tables:
        raise TableNotReady(f"the table of a sweep comes as {', '.join(tables)}, not as {wanted}")
    return tables[wanted]


def _send(opened: OpenArtifact, conditions: Conditions) -> Response:
    artifact = opened.artifact
    tag = f'"{artifact.sha256}"'
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache",  # keep it, but ask: a running job replaces its files
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Content-Disposition": "attachment" if artifact.media_type == OCTETS else "inline",
    }
    at_hand = (conditions.if_none_match or "").split(",")
    if tag in (known.strip().removeprefix("W/") for known in at_hand):
        opened.file.close()
        return Response(status_code=304, headers=headers)
    try:
        part = wanted_part(conditions.range, conditions.if_range, tag=tag, num_bytes=artifact.num_bytes)
    except HTTPException:
        opened.file.close()
        raise
    status = 200
    num_bytes = artifact.num_bytes
    if part is not None:
        status, num_bytes = 206, part.num_bytes
        headers["Content-Range"] = f"bytes {part.first}-{part.last}/{artifact.num_bytes}"
        opened.file.seek(part.first)
    headers["Content-Length"] = str(num_bytes)
    headers["Content-Disposition"] += f'; filename="{artifact.name}"'
    return StreamingResponse(
        _blocks(opened.file, num_bytes), status_code=status, media_type=artifact.media_type, headers=headers
    )


def _blocks(file: BinaryIO, num_bytes: int) -> Iterator[bytes]:
    with file:
        while num_bytes > 0 and (block := file.read(min(BLOCK_BYTES, num_bytes))):
            num_bytes -= len(block)
            yield block
