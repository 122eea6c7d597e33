"""What MLflow shows as a run's parameters: flat, complete, and equal names for equal things."""

import json
from collections.abc import Mapping

from pydantic import JsonValue

from service.jobs.base_spec import BaseSpec, ExperimentSpec
from service.jobs.specs import JobSpec, SecondStageSpec

OF_EVERY_JOB = frozenset(BaseSpec.model_fields) | frozenset(ExperimentSpec.model_fields) | {"kind"}


def parameters_of(spec: JobSpec) -> dict[str, str]:
    """Parameters of a job: its experiment by dotted paths, where it has one, its resources as `resources.<field>`, and
    what only its kind has as `<kind>.<field>`; a mapping there is one parameter an entry, named variants included.
    """
    experiment = spec.resolved_experiment.flat() if isinstance(spec, ExperimentSpec | SecondStageSpec) else {}
    return experiment | _flat("resources", spec.resources.model_dump(mode="json")) | _of_kind(spec)


def _of_kind(spec: JobSpec) -> dict[str, str]:
    tree = spec.model_dump(mode="json")
    own = {name: value for name, value in tree.items() if name not in OF_EVERY_JOB}
    if spec.kind == "evaluate":
        own["overrides"] = tree["overrides"]
    if isinstance(variants := own.get("variants"), list):
        own["variants"] = {variant["name"]: variant["overrides"] for variant in variants}
    parameters: dict[str, str] = {}
    for name, value in own.items():
        entries = {name: value} if not isinstance(value, dict) else {f"{name}.{key}": v for key, v in value.items()}
        parameters |= _flat(spec.kind, entries)
    return parameters


def _flat(prefix: str, values: Mapping[str, JsonValue]) -> dict[str, str]:
    return {
        f"{prefix}.{name}": value if isinstance(value, str) else json.dumps(value) for name, value in values.items()
    }
