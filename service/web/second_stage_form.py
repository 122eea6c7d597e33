"""The form on a model's page that makes a second stage of it, and what is told beside its fields."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from service.errors import FieldProblem
from service.jobs.refusals import field_problems
from service.jobs.specs import SecondStageSpec
from service.web.form_fields import MAX_LINES_TYPED, MAX_TYPED, Refused, check_lengths, read_overrides, read_workers

MOST_TYPED = {**dict.fromkeys(("work", "name", "workers"), MAX_TYPED), "overrides": MAX_LINES_TYPED}
FIELD_NAMES = {"work": "What to do", "name": "Name", "workers": "Workers", "overrides": "Overrides"}
WORKS = {"train": "Train a Fast R-CNN on this model's boxes", "labels": "Only write the pseudo labels"}


class SecondStageForm(BaseModel):
    """The form's fields, as typed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    work: str = "train"
    """one of WORKS"""
    name: str = ""
    workers: str = "1"
    overrides: str = ""
    """path = value, one a line"""
    token: str = Field(default="", max_length=64)
    """made with the form, so that sending it twice asks once"""
    action: str = "submit"
    """`submit` or `check`"""


def read_second_stage(form: SecondStageForm, model_id: str) -> tuple[SecondStageSpec | None, Refused]:
    """The second stage of this model that the form asks for, or why there is none."""
    refused = Refused()
    check_lengths(form, MOST_TYPED, refused)
    if refused:
        return None, refused
    work = form.work.strip()
    if work not in WORKS:
        refused.add("work", f"{work[:20]!r} is nothing that can be done with a model's boxes: choose one of the list")
    body: dict[str, JsonValue] = {"model": model_id, "train": work == "train"}
    if name := form.name.strip():
        body["name"] = name
    body["resources"] = {"num_workers": read_workers(form.workers, refused)}
    body["overrides"] = read_overrides(form.overrides, refused)
    if refused:
        return None, refused
    try:
        return SecondStageSpec.model_validate(body), refused
    except ValidationError as error:
        place_problems(field_problems(error.errors()), refused)
        return None, refused


def place_problems(problems: Iterable[FieldProblem], refused: Refused) -> None:
    """Each problem beside the field of the form it came from."""
    for problem in problems:
        refused.add_problem(problem, _place(problem))


def _place(problem: FieldProblem) -> Literal["name", "workers", "overrides"] | None:
    match problem.field.partition(".")[0]:
        case "name":
            return "name"
        case "resources":
            return "workers"
        case "experiment" if problem.field.endswith("images_per_step"):
            return "workers"  # it is the number of workers that does not divide them
        case "experiment" | "overrides":
            return "overrides"
        case _:
            return None
