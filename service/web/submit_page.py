"""The form that makes a job."""

import inspect
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from sdcn_core.config.presets import PRESETS
from sdcn_core.config.studies import ABLATIONS, SWEEPS
from service import submission
from service.api.dependencies import DatasetsDep, Parameters, QueueDep
from service.api.same_site import SAME_SITE
from service.errors import InvalidSpec
from service.jobs.states import DatasetState
from service.queue.datasets import DatasetRegister
from service.queue.records import Dataset
from service.web.form_fields import Refused
from service.web.form_spec import TRAIN, SubmitForm, place_problems, read_form
from service.web.form_submission import Checked, idempotency_key, look_at
from service.web.rendering import Render, RenderDep
from service.web.text import counted

router = APIRouter(include_in_schema=False)

FIRST_PRESET = "scenes"
MAX_DATASETS = 200
"""offered to choose from; others are named in the overrides"""
FIELD_NAMES = {
    "work": "What to do",
    "preset": "Preset",
    "data": "Data",
    "name": "Name",
    "seeds": "Seeds",
    "workers": "Workers",
    "overrides": "Overrides",
}


class FormParameters(Parameters):
    """What a link may fill in."""

    work: str = Field(default=TRAIN, max_length=100)
    preset: str = Field(default=FIRST_PRESET, max_length=100)
    data: str = Field(default="", max_length=100)


@dataclass(frozen=True)
class Option:
    value: str
    label: str
    description: str
    """one sentence"""


@router.get("/submit")
def show_form(parameters: Annotated[FormParameters, Query()], datasets: DatasetsDep, render: RenderDep) -> Response:
    form = SubmitForm(**parameters.model_dump(), token=secrets.token_hex(16))
    return _page(render, form, Refused(), datasets)


@router.post("/submit", dependencies=[SAME_SITE])
def take_form(
    form: Annotated[SubmitForm, Form()], queue: QueueDep, datasets: DatasetsDep, render: RenderDep
) -> Response:
    """Queue what the form asks for and show the job; or show the form with what is wrong beside each field."""
    spec, refused = read_form(form)
    if spec is None:
        return _page(render, form, refused, datasets)
    try:
        if form.action == "check":
            return _page(render, form, refused, datasets, checked=look_at(spec, datasets))
        key = idempotency_key(form.token, spec)
        job = submission.submit(queue, spec, datasets, idempotency_key=key).job
    except InvalidSpec as error:
        place_problems(error.fields, refused, form)
        if not refused:
            refused.add(None, error.detail)
        return _page(render, form, refused, datasets)
    return RedirectResponse(f"/jobs/{job.job_id}", status_code=303)


def _page(
    render: Render, form: SubmitForm, refused: Refused, datasets: DatasetRegister, *, checked: Checked | None = None
) -> Response:
    single = Option(TRAIN, "One training", "A single training of the preset, judged on its test images.")
    context: dict[str, Any] = {
        "form": form,
        "problems": refused.by_field,
        "whole_problems": refused.whole,
        "checked": checked,
        "names": FIELD_NAMES,
        "single": single,
        "ablations": _options(ABLATIONS, "ablation:"),
        "sweeps": _options(SWEEPS, "sweep:"),
        "presets": _options(PRESETS, ""),
        "datasets": [_dataset_option(one) for one in datasets.page(limit=MAX_DATASETS).datasets],
    }
    return render("submit.html", 422 if refused else 200, **context)


def _dataset_option(dataset: Dataset) -> Option:
    found = "" if dataset.found is None else f", {counted(len(dataset.found.classes), 'class', 'classes')}"
    state = "" if dataset.state is DatasetState.READY else f", {dataset.state}"
    return Option(dataset.name, f"{dataset.name} ({dataset.source.get('kind')}{found}{state})", "")


def _options(makers: Mapping[str, Callable[[], object]], prefix: str) -> list[Option]:
    return [Option(f"{prefix}{name}", name, _first_sentence(maker)) for name, maker in makers.items()]


def _first_sentence(maker: Callable[[], object]) -> str:
    return " ".join((inspect.getdoc(maker) or "").split("\n\n", 1)[0].split())
