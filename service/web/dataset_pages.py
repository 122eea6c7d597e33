"""Registered data sets: what is in each, and a form to register one."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Form, Query
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from starlette.responses import RedirectResponse, Response

from sdcn_core.config.data import DataSource, Name
from service import submission
from service.api.dataset_schemas import describe_dataset
from service.api.dependencies import NO_PARAMETERS, DatasetName, DatasetsDep, Parameters
from service.api.same_site import SAME_SITE
from service.errors import DatasetExists, FieldProblem
from service.jobs.answers import DatasetRead
from service.jobs.data_specs import DatasetSpec
from service.jobs.refusals import field_problems
from service.jobs.states import DatasetState
from service.queue.datasets import DatasetRegister
from service.queue.records import Dataset
from service.web import tables
from service.web.form_fields import Refused, read_overrides
from service.web.job_pages import PageParameters
from service.web.list_page import LIVE_MS
from service.web.rendering import Render, RenderDep
from service.web.text import counted, listed

router = APIRouter(include_in_schema=False)

PAGE_LENGTH = 30
FIELD_NAMES = {"name": "Name", "kind": "Kind", "path": "Folder", "fields": "Further fields"}


class ListParameters(Parameters):
    cursor: Name | None = None


class RegisterForm(BaseModel):
    """The form's fields, as typed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    kind: str = "voc"
    path: str = ""
    fields: str = ""
    """field = value, one a line"""


@dataclass(frozen=True)
class Bar:
    label: str
    count: int
    share: float
    """of the highest bar"""


@dataclass(frozen=True)
class Shown:
    """A data set as the list shows it."""

    read: DatasetRead
    whereabouts: str
    found: str
    """classes and images, in a few words"""
    bars: tuple[Bar, ...]
    """images of each class in the first split"""
    bars_say: str


@dataclass(frozen=True)
class Kind:
    """A sort of source that can be registered."""

    name: str
    description: str
    fields: str


def _kinds() -> tuple[Kind, ...]:
    union, *_ = get_args(DataSource)
    return tuple(_kind(variant) for variant in get_args(union))


def _kind(variant: type[BaseModel]) -> Kind:
    said = " ".join((inspect.getdoc(variant) or "").split("\n\n", 1)[0].split())
    fields = [name for name in variant.model_fields if name != "kind"]
    return Kind(variant.model_fields["kind"].default, said, ", ".join(fields))


KINDS = _kinds()


@router.get("/datasets")
def show_datasets(parameters: Annotated[ListParameters, Query()], datasets: DatasetsDep, render: RenderDep) -> Response:
    return _list_page(render, datasets, parameters.cursor, RegisterForm(), Refused())


@router.post("/datasets", dependencies=[NO_PARAMETERS, SAME_SITE])
def register(form: Annotated[RegisterForm, Form()], datasets: DatasetsDep, render: RenderDep) -> Response:
    """Register what the form says and show it; or show the form with what is wrong beside each field."""
    refused = Refused()
    spec = _read_form(form, refused)
    if spec is not None:
        try:
            submission.register(datasets, spec)
        except DatasetExists as error:
            refused.add("name", error.detail)
    if refused or spec is None:
        return _list_page(render, datasets, None, form, refused)
    return RedirectResponse(f"/datasets/{spec.name}", status_code=303)


@router.get("/datasets/{name}")
def show_dataset(
    name: DatasetName, parameters: Annotated[PageParameters, Query()], datasets: DatasetsDep, render: RenderDep
) -> Response:
    dataset = datasets.get(name)
    read = describe_dataset(dataset)
    return render(
        "dataset.html",
        read=read,
        whereabouts=_whereabouts(dataset),
        tables=() if read.counts is None else tables.count_tables(read.counts),
        live_url=f"/datasets/{name}" if read.state is DatasetState.CHECKING else None,
        every_ms=LIVE_MS,
        refresh=parameters.refresh,
    )


@router.post("/datasets/{name}/check", dependencies=[NO_PARAMETERS, SAME_SITE])
def check_again(name: DatasetName, datasets: DatasetsDep) -> Response:
    datasets.check_again(name)
    return RedirectResponse(f"/datasets/{name}", status_code=303)


@router.post("/datasets/{name}/remove", dependencies=[NO_PARAMETERS, SAME_SITE])
def remove(name: DatasetName, datasets: DatasetsDep) -> Response:
    datasets.remove(name)
    return RedirectResponse("/datasets", status_code=303)


def _list_page(
    render: Render, datasets: DatasetRegister, cursor: str | None, form: RegisterForm, refused: Refused
) -> Response:
    page = datasets.page(limit=PAGE_LENGTH, after=cursor)
    checking = any(one.state is DatasetState.CHECKING for one in page.datasets)
    here = "/datasets" if cursor is None else f"/datasets?cursor={cursor}"
    context: dict[str, Any] = {
        "datasets": [_shown(one) for one in page.datasets],
        "first": cursor is None,
        "older": page.following,
        "live_url": here if checking else None,
        "every_ms": LIVE_MS,
        "form": form,
        "problems": refused.by_field,
        "names": FIELD_NAMES,
        "kinds": KINDS,
    }
    return render("datasets.html", 422 if refused else 200, **context)


def _shown(dataset: Dataset) -> Shown:
    found = dataset.found
    first = found.splits[0] if found is not None and found.splits else None
    bars: tuple[Bar, ...] = ()
    if first is not None:
        highest = max((counts.images for counts in first.classes.values()), default=0) or 1
        bars = tuple(Bar(label, c.images, c.images / highest) for label, c in first.classes.items())
    images = "" if found is None else " · ".join(f"{split.name} {split.images}" for split in found.splits[:4])
    return Shown(
        read=describe_dataset(dataset),
        whereabouts=_whereabouts(dataset),
        found="" if found is None else f"{counted(len(found.classes), 'class', 'classes')} · {images}",
        bars=bars,
        bars_say="" if first is None else f"Images by class in {first.name}: {_said(bars)}",
    )


def _said(bars: Iterable[Bar]) -> str:
    return listed([f"{bar.label} {bar.count}" for bar in bars])


def _whereabouts(dataset: Dataset) -> str:
    path = dataset.source.get("path")
    return f"{dataset.source.get('kind')}{f' · {path}' if path else ''}"


def _read_form(form: RegisterForm, refused: Refused) -> DatasetSpec | None:
    """The data set that the form describes, or None and why there is none."""
    source: dict[str, JsonValue] = {"kind": form.kind.strip()}
    if path := form.path.strip():
        source["path"] = path
    source |= read_overrides(form.fields, refused, place="fields")
    try:
        spec = DatasetSpec.model_validate({"name": form.name.strip(), "source": source})
    except ValidationError as error:
        for problem in field_problems(error.errors()):
            _place(problem, refused)
        return None
    return None if refused else spec


def _place(problem: FieldProblem, refused: Refused) -> None:
    match problem.field:
        case "name":
            refused.add("name", problem.message)
        case "source" | "source.kind":
            refused.add("kind", problem.message)
        case "source.path":
            refused.add("path", problem.message)
        case field:
            refused.add("fields", f"{field.removeprefix('source.')}: {problem.message}")
