"""Registered data sets in a job's spec: found, and replaced by the sources they stand for.

They may stand wherever a source may: among the overrides of an experiment, of a variant or a sweep's space, or as the
source of an evaluation.
"""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue, ValidationError

from sdcn_core.config.data import DataSource
from service.jobs.base_spec import refuse, refused
from service.jobs.data_specs import RegisteredSource
from service.jobs.refusals import field_problems
from service.jobs.specs import JOB_SPEC, JobSpec, asked_for


def registered_names(spec: JobSpec) -> dict[str, str]:
    """Names of the registered data sets that a spec asks for -> the first field that does.

    Raises:
        InvalidSpec: a field asks for one without saying its name.
    """
    fields: dict[str, str] = {}
    for field, asked in _references(asked_for(spec), ""):
        try:
            fields.setdefault(RegisteredSource.model_validate(asked).name, field)
        except ValidationError:
            form = '{"kind": "registered", "name": NAME}'
            raise refused(field, f"a registered data set is written {form}; GET /v1/datasets lists them") from None
    return fields


def with_sources(spec: JobSpec, sources: Mapping[str, DataSource]) -> JobSpec:
    """The spec with sources in place of the names of registered data sets; all that it asks for must be there.

    Raises:
        InvalidSpec: a source does not fit where the name stood.
    """
    tree = asked_for(spec)
    if not any(True for _ in _references(tree, "")):
        return spec
    replaced = _replaced(tree, {name: source.model_dump(mode="json") for name, source in sources.items()})
    try:
        return JOB_SPEC.validate_python(replaced)
    except ValidationError as error:
        raise refuse(field_problems(error.errors())) from None


def _references(node: JsonValue, path: str) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    """Dotted path and value of everything that asks for a registered data set."""
    if isinstance(node, dict):
        if node.get("kind") == "registered":
            yield path, node
            return
        for name, child in node.items():
            yield from _references(child, f"{path}.{name}".lstrip("."))
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from _references(child, f"{path}.{number}")


def _replaced(node: JsonValue, sources: Mapping[str, dict[str, JsonValue]]) -> JsonValue:
    match node:
        case {"kind": "registered", "name": str(name)}:
            return sources[name]
        case dict():
            return {name: _replaced(child, sources) for name, child in node.items()}
        case list():
            return [_replaced(child, sources) for child in node]
        case _:
            return node
