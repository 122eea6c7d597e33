"""What the fields of a form hold, as typed, and what is told beside them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, JsonValue

from service.api.strict_json import MAX_DIGITS
from service.errors import FieldProblem

MAX_SEEDS = 20
MAX_SEED = 2**31 - 1
MAX_TOLD = 20
"""problems beside one field; of many thousand lines each may have one"""
MAX_TYPED = 1000
"""characters of a field of one line that are read; the form comes back with more than that too"""
MAX_LINES_TYPED = 100_000
"""characters of a field of many lines"""
EXAMPLES = {
    "overrides": "path = value, such as objective.tau_0 = 0.3",
    "fields": "field = value, such as train_split = train",
}
"""of a line, by the field of the form it stands in"""
_RANGE = re.compile(r"(\d{1,10})\s*-\s*(\d{1,10})")
_OF_BODIES = re.compile(r" \(a body is sent with [^)]*\)$")
"""said to clients of the API, of no use beside a field"""


@dataclass
class Refused:
    """Sentences beside the fields that caused them; `whole` are about none of them."""

    by_field: dict[str, list[str]] = field(default_factory=dict)
    whole: list[str] = field(default_factory=list)

    def add(self, name: str | None, message: str) -> None:
        told = self.whole if name is None else self.by_field.setdefault(name, [])
        if message not in told and len(told) <= MAX_TOLD:
            told.append(message if len(told) < MAX_TOLD else "and more")

    def add_problem(self, problem: FieldProblem, name: str | None) -> None:
        """A problem of a job's spec beside the field of the form that it came from.

        Beside its own field a problem needs no path; below overrides, or beside none, it does.
        """
        path = problem.field.removeprefix("overrides.").removeprefix("experiment.")
        said = _OF_BODIES.sub("", problem.message)
        self.add(name, f"{path}: {said}" if name in (None, "overrides") and path else said)

    def __bool__(self) -> bool:
        return bool(self.by_field or self.whole)


def check_lengths(form: BaseModel, most: Mapping[str, int], refused: Refused) -> None:
    """Refuse fields that hold more characters than are read."""
    for name, limit in most.items():
        if (typed := len(getattr(form, name))) > limit:
            refused.add(name, f"{typed} characters are more than the {limit} that are read")


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


def read_workers(text: str, refused: Refused) -> int:
    """How many processes share each step's images; 1 where nothing is said, or nothing that can be read."""
    said = text.strip() or "1"
    if not said.isdecimal() or len(said) > 4:
        refused.add("workers", f"{said[:20]!r} is no number of workers: write 1, or how many share each step")
        return 1
    return int(said)
