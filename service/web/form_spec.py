"""From what stands in the form of a training or a study to the body of a job, and from what is refused back to the
field of the form.
"""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from service.errors import FieldProblem
from service.jobs.refusals import field_problems
from service.jobs.specs import JOB_SPEC, JobSpec
from service.web.form_fields import (
    MAX_LINES_TYPED,
    MAX_TYPED,
    Refused,
    check_lengths,
    read_overrides,
    read_seeds,
    read_workers,
)

MOST_TYPED = {
    **dict.fromkeys(("work", "preset", "data", "name", "seeds", "workers"), MAX_TYPED),
    "overrides": MAX_LINES_TYPED,
}
TRAIN = "train"
"""as `work`: one training, no study"""


class SubmitForm(BaseModel):
    """The form's fields, as typed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    work: str = TRAIN
    """`train`, or kind and study: `ablation:table-2`"""
    preset: str = ""
    data: str = ""
    """name of a registered data set; empty: the preset's own"""
    name: str = ""
    seeds: str = ""
    """numbers and ranges with commas: 0, 3-5"""
    workers: str = "1"
    overrides: str = ""
    """path = value, one a line"""
    token: str = Field(default="", max_length=64)
    """made with the form, so that sending it twice asks once"""
    action: str = "submit"
    """`submit` or `check`"""


def read_form(form: SubmitForm) -> tuple[JobSpec | None, Refused]:
    """The job that the form asks for, or why there is none."""
    refused = Refused()
    check_lengths(form, MOST_TYPED, refused)
    if refused:
        return None, refused
    kind, _, study = form.work.strip().partition(":")
    body: dict[str, JsonValue] = {"kind": kind, "preset": form.preset.strip()}
    if study:
        body["study"] = study
    if name := form.name.strip():
        body["name"] = name
    body["resources"] = {"num_workers": read_workers(form.workers, refused)}
    overrides = read_overrides(form.overrides, refused)
    seeds = read_seeds(form.seeds, refused)
    if kind != TRAIN and seeds:
        body["seeds"] = list(seeds)
    elif len(seeds) > 1:
        refused.add("seeds", "a single training has one seed; choose a study to train with several")
    elif seeds:
        if "seed" in overrides:
            refused.add("seeds", "the overrides say seed too; say it in one place")
        overrides["seed"] = seeds[0]
    if data := form.data.strip():
        if "data.source" in overrides:
            refused.add("data", "the overrides say data.source too; say it in one place")
        overrides = {"data.source": {"kind": "registered", "name": data}, **overrides}
    body["overrides"] = overrides
    if refused:
        return None, refused
    try:
        return JOB_SPEC.validate_python(body), refused
    except ValidationError as error:
        place_problems(field_problems(error.errors()), refused, form)
        return None, refused


def place_problems(problems: Iterable[FieldProblem], refused: Refused, form: SubmitForm) -> None:
    """Each problem beside the field of the form it came from."""
    for problem in problems:
        of_data = form.data.strip() and problem.field == "overrides.data.source"
        refused.add_problem(problem, "data" if of_data else _place(problem))


def _place(problem: FieldProblem) -> str | None:
    head = problem.field.partition(".")[0]
    match head:
        case "preset" | "name" | "seeds" | "overrides":
            return head
        case "resources":
            return "workers"
        case "kind" | "study" | "variants" | "factors" | "space":
            return "work"
        case "experiment" if problem.field.endswith("images_per_step"):
            return "workers"  # it is the number of workers that does not divide them
        case "experiment":
            return "overrides"
        case _:
            return None
