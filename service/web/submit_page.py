"""The form that makes a job."""

import hashlib
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
from service.api.dependencies import Parameters, QueueDep
from service.api.same_site import SAME_SITE
from service.errors import InvalidSpec
from service.jobs.specs import JobSpec
from service.web.form_spec import TRAIN, Refused, SubmitForm, idempotency_key, place_problems, read_form
from service.web.rendering import Render, RenderDep

router = APIRouter(include_in_schema=False)

FIRST_PRESET = "scenes"
FIELD_NAMES = {
    "work": "What to do",
    "preset": "Preset",
    "name": "Name",
    "seeds": "Seeds",
    "workers": "Workers",
    "overrides": "Overrides",
}


class FormParameters(Parameters):
    """What a link may fill in."""

    work: str = Field(default=TRAIN, max_length=100)
    preset: str = Field(default=FIRST_PRESET, max_length=100)


@dataclass(frozen=True)
class Option:
    value: str
    label: str
    description: str
    """one sentence"""


@dataclass(frozen=True)
class Checked:
    """What a check found; nothing was queued."""

    kind: str
    trainings: int
    steps: int
    warnings: tuple[str, ...]


@router.get("/submit")
async def show_form(parameters: Annotated[FormParameters, Query()], render: RenderDep) -> Response:
    form = SubmitForm(work=parameters.work, preset=parameters.preset, token=secrets.token_hex(16))
    return _page(render, form, Refused())


@router.post("/submit", dependencies=[SAME_SITE])
def take_form(form: Annotated[SubmitForm, Form()], queue: QueueDep, render: RenderDep) -> Response:
    """Queue what the form asks for and show the job; or show the form with what is wrong beside each field."""
    spec, refused = read_form(form)
    if spec is None:
        return _page(render, form, refused)
    try:
        if form.action == "check":
            return _page(render, form, refused, checked=_check(spec))
        job = submission.submit(queue, spec, idempotency_key=_key(form, spec)).job
    except InvalidSpec as error:
        place_problems(error.fields, refused)
        if not refused:
            refused.add(None, error.detail)
        return _page(render, form, refused)
    return RedirectResponse(f"/jobs/{job.job_id}", status_code=303)


def _key(form: SubmitForm, spec: JobSpec) -> str | None:
    """Equal where the same form is sent twice. One that was changed, after going back to it, asks for another job."""
    key = idempotency_key(form)
    return key and f"{key}-{hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:16]}"


def _check(spec: JobSpec) -> Checked:
    resolved, warnings = submission.check(spec)
    trainings, _ = submission.planned_runs(resolved)
    return Checked(resolved.kind, trainings, resolved.total_steps, warnings)


def _page(render: Render, form: SubmitForm, refused: Refused, checked: Checked | None = None) -> Response:
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
    }
    return render("submit.html", 422 if refused else 200, **context)


def _options(makers: Mapping[str, Callable[[], object]], prefix: str) -> list[Option]:
    return [Option(f"{prefix}{name}", name, _first_sentence(maker)) for name, maker in makers.items()]


def _first_sentence(maker: Callable[[], object]) -> str:
    return " ".join((inspect.getdoc(maker) or "").split("\n\n", 1)[0].split())
