"""A study as the runs it consists of: one training with one configuration each, which is one run in MLflow."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from sdcn_core.config.data import ScenesSource
from sdcn_core.config.experiment import ExperimentConfig
from service.errors import FieldProblem
from service.jobs.base_spec import Overrides, overridden, refuse, unshareable

MAX_RUNS = 200


@dataclass(frozen=True)
class PlannedRun:
    name: str
    """unique within the job, safe in file names"""
    variant: str
    """the row of the table it belongs to; of a sweep, the trial"""
    seed: int
    overrides: Mapping[str, JsonValue]
    """of the variant or trial, without the seed"""
    experiment: ExperimentConfig


def planned(
    base: ExperimentConfig,
    variant: str,
    overrides: Overrides,
    seed: int,
    *,
    seed_data: bool,
    one_seed: bool,
    under: str,
) -> PlannedRun:
    """One run of a variant with a seed.

    Args:
        base: the study's experiment.
        variant: the row's or trial's name.
        overrides: the row's.
        seed: of the training; and of generated data, where `seed_data` says so.
        seed_data: see there.
        one_seed: the study has one seed, so that names need none.
        under: what the client calls the overrides, for messages.

    Raises:
        InvalidSpec: naming the override at fault.
    """
    seeded: dict[str, JsonValue] = {"seed": seed}
    if seed_data and isinstance(base.data.source, ScenesSource):
        seeded["data.source.seed"] = seed
    experiment = overridden(base, {**seeded, **overrides}, under=under, otherwise="experiment")
    name = variant if one_seed else f"{variant}-seed{seed}"
    return PlannedRun(name, variant, seed, dict(overrides), experiment)


def check_shares(runs: Iterator[PlannedRun] | tuple[PlannedRun, ...], num_workers: int) -> None:
    """Refuse runs whose images cannot be dealt out evenly.

    Raises:
        InvalidSpec: naming the field and the run.
    """
    problems: dict[FieldProblem, None] = {}
    for run in runs:
        problems |= dict.fromkeys(unshareable(run.experiment, num_workers))
    if problems:
        raise refuse(tuple(problems))


def short_value(value: Any) -> str:  # noqa: ANN401 - any JSON
    """A value as a part of a name; long ones by their digest.

    >>> short_value(0.1), short_value(True), short_value([1, 2])
    ('0.1', 'true', '[1,2]')
    """
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text if len(text) <= 20 else hashlib.sha256(text.encode()).hexdigest()[:8]
