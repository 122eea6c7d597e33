"""pydantic's errors as fields and sentences a client can act on."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic_core import ErrorDetails

from sdcn_core.config.data import DataSource, ProposalConfig
from sdcn_core.config.model import BackboneConfig, ClassifierConfig
from sdcn_core.config.search_space import Domain
from service.errors import FieldProblem


def _tags(union: Any) -> frozenset[str]:  # noqa: ANN401 - an Annotated alias has no type of its own
    variants, *_ = get_args(union)
    return frozenset(variant.model_fields["kind"].default for variant in get_args(variants))


_KINDS = frozenset({"train", "ablation", "sweep", "evaluate", "predict", "second_stage", "check_data"})
_DOMAINS = _tags(Domain)
_SEARCHES = frozenset({"grid", "one_at_a_time", "random", "optuna"})
_TAGS = {
    "search": _SEARCHES,
    "source": _tags(DataSource) | {"registered"},
    "proposals": _tags(ProposalConfig),
    "backbone": _tags(BackboneConfig),
    "classifier": _tags(ClassifierConfig),
}


def field_problems(errors: Iterable[ErrorDetails], *, of_job: bool = True) -> tuple[FieldProblem, ...]:
    """Each error as (dotted path, sentence), without the input, which may be large or secret.

    Args:
        errors: pydantic's.
        of_job: of a spec by its kind, which pydantic then names first; False: of an experiment, a field of which is
            called as a kind is.
    """
    return tuple(FieldProblem(_field(error, of_job=of_job), _sentence(error)) for error in errors)


def _field(error: ErrorDetails, *, of_job: bool) -> str:
    if error["type"] == "unknown_kind" and isinstance(error["input"], Mapping):
        return _path((*error["loc"], "kind"), of_job=of_job)
    return _path(error["loc"], of_job=of_job)


def _path(location: tuple[int | str, ...], *, of_job: bool) -> str:
    """The dotted path a client would write: pydantic puts the tag of a discriminated union after its field."""
    parts: list[str] = []
    for index, part in enumerate(location):
        of_kinds = _KINDS if of_job and index == 0 else frozenset()
        tags = _TAGS.get(parts[-1], frozenset()) if parts else of_kinds
        if part in tags or (len(parts) == 2 and parts[0] == "space" and part in _DOMAINS):
            continue
        if part != "[key]":  # pydantic's word for the name of an entry, which is the part before
            parts.append(str(part))
    return ".".join(parts)


def _sentence(error: ErrorDetails) -> str:
    """The model's own words, but where they speak of its inside."""
    match error["type"]:
        case "extra_forbidden":
            return "there is no such field here"
        case "missing":
            return "is required" if error["loc"] else "a body is required"
        case "string_unicode":
            return (
                "a name or a text here holds a lone half of a surrogate pair (such as \\ud800), which is no character"
            )
        case "unknown_kind" if isinstance(error["input"], Mapping):
            return error["msg"]
        case "model_type" | "model_attributes_type" | "unknown_kind":
            return "must be a JSON object (a body is sent with Content-Type: application/json)"
        case _:
            return error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
