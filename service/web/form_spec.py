"""From what stands in the form to the body of a job, and from what is refused back to the field of the form."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from service.api.strict_json import MAX_DIGITS
from service.errors import FieldProblem
from service.jobs.refusals import field_problems
from service.jobs.specs import JOB_SPEC, JobSpec

MAX_SEEDS = 20
MAX_SEED = 2**31 - 1
MAX_TOLD = 20
"""problems beside one field; of many thousand lines each may have one"""
MAX_TYPED = {
    "work": 1000,
    "preset": 1000,
    "data": 1000,
    "name": 1000,
    "seeds": 1000,
    "workers": 1000,
    "overrides": 100_000,
}
"""characters of each field that are read; the form comes back with more than that too"""
EXAMPLES = {
    "overrides": "path = value, such as objective.tau_0 = 0.3",
    "fields": "field = value, such as train_split = train",
}
"""of a line, by the field of the form it stands in"""
_RANGE = re.compile(r"(\d{1,10})\s*-\s*(\d{1,10})")
_OF_BODIES = re.compile(r" \(a body is sent with [^)]*\)$")
"""said to clients of the API, of no use beside a field"""
_TOKEN = re.compile(r"[0-9a-f]{16,64}")

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


@dataclass
class Refused:
    """Sentences beside the fields that caused them; `whole` are about none of them."""

    by_field: dict[str, list[str]] = field(default_factory=dict)
    whole: list[str] = field(default_factory=list)

    def add(self, name: str | None, message: str) -> None:
        told = self.whole if name is None else self.by_field.setdefault(name, [])
        if message not in told and len(told) <= MAX_TOLD:
            told.append(message if len(told) < MAX_TOLD else "and more")

    def __bool__(self) -> bool:
        return bool(self.by_field or self.whole)


def read_form(form: SubmitForm) -> tuple[JobSpec | None, Refused]:
    """The job that the form asks for, or why there is none."""
    refused = Refused()
    for name, most in MAX_TYPED.items():
        if (typed := len(getattr(form, name))) > most:
            refused.add(name, f"{typed} characters are more than the {most} that are read")
    if refused:
        return None, refused
    kind, _, study = form.work.strip().partition(":")
    body: dict[str, JsonValue] = {"kind": kind, "preset": form.preset.strip()}
    if study:
        body["study"] = study
    if name := form.name.strip():
        body["name"] = name
    body["resources"] = {"num_workers": _workers(form.workers, refused)}
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


def read_overrides(text: str, refused: Refused, *, place: str = "overrides") -> dict[str, JsonValue]:
    """Lines of `path = value`: a value is JSON, or else taken as text; blank lines and comments are passed over.
    `place` is the field of the form they stand in.
    """
    overrides: dict[str, JsonValue] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        path, equals, value = (part.strip() for part in said.partition("="))
        if not equals or not path or not value:
            refused.add(place, f"line {number}: write {EXAMPLES[place]}")
        elif path in overrides:
            refused.add(place, f"line {number}: {path} was there before; give it one value")
        else:
            try:
                overrides[path] = _value(value)
            except ValueError as error:
                refused.add(place, f"line {number}: {error}")
    return overrides


def _value(text: str) -> JsonValue:
    """A value as JSON, or else the text itself.

    Raises:
        ValueError: it is JSON, but none that can be asked for; with the reason.
    """
    try:
        value: JsonValue = json.loads(text, parse_constant=_no_constant, parse_int=_short_int)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is no character") from None
    except json.JSONDecodeError:
        return text
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number that can be asked for; give a finite one")


def _short_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits; {MAX_DIGITS} are read")
    return int(digits)


def read_seeds(text: str, refused: Refused) -> tuple[int, ...]:
    """Seeds and ranges of seeds, with commas or spaces.

    >>> read_seeds("0, 3-5", Refused())
    (0, 3, 4, 5)
    """
    seeds: list[int] = []
    for part in re.split(r"[,;]|(?<=\d)\s+(?=\d)", text):
        said = part.strip()
        if not said:
            continue
        ends = _RANGE.fullmatch(said)
        first, last = (int(ends[1]), int(ends[2])) if ends else (0, -1)
        if said.isdecimal() and len(said) <= 10:
            first = last = int(said)
        if last < first:
            refused.add("seeds", f"{said!r} is neither a seed nor a range of them: write 0, 1, 2 or 0-2")
        elif len(seeds) + last - first + 1 > MAX_SEEDS:
            refused.add("seeds", f"at most {MAX_SEEDS} seeds")
            break
        elif last > MAX_SEED:
            refused.add("seeds", f"{said!r} is too large: a seed is at most {MAX_SEED}")
        elif twice := sorted(set(seeds).intersection(range(first, last + 1))):
            refused.add("seeds", f"seed {twice[0]} is there twice: name each once")
        else:
            seeds += range(first, last + 1)
    return tuple(seeds)


def _workers(text: str, refused: Refused) -> int:
    said = text.strip() or "1"
    if not said.isdecimal() or len(said) > 4:
        refused.add("workers", f"{said[:20]!r} is no number of workers: write 1, or how many share each step")
        return 1
    return int(said)


def place_problems(problems: Iterable[FieldProblem], refused: Refused, form: SubmitForm) -> None:
    """Each problem beside the field of the form it came from."""
    for problem in problems:
        of_data = form.data.strip() and problem.field == "overrides.data.source"
        place = "data" if of_data else _place(problem)
        # beside its own field a problem needs no path; below overrides, or beside none, it does
        path = problem.field.removeprefix("overrides.").removeprefix("experiment.")
        said = _OF_BODIES.sub("", problem.message)
        refused.add(place, f"{path}: {said}" if place in (None, "overrides") and path else said)


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


def idempotency_key(form: SubmitForm) -> str | None:
    """The form's own key; None where somebody took it out."""
    return f"form-{form.token}" if _TOKEN.fullmatch(form.token) else None
