"""Where the next trial of a search looks: pure functions of the search's seed, the trial's number and what is known.

Nothing is kept between two draws, so a sweep that begins again after a crash draws what it would have drawn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import JsonValue

from sdcn_core.config.search_space import Choice, Domain, Integer, LogUniform, Uniform
from service.jobs.base_spec import Overrides
from service.jobs.study_results import RunState

Space = Mapping[str, Domain]


def random_draw(space: Space, *, seed: int, number: int) -> Overrides:
    """Independent draws, one for each field."""
    generator = np.random.default_rng((seed, number))
    return {path: _drawn(space[path], generator) for path in sorted(space)}


def _drawn(domain: Domain, generator: np.random.Generator) -> JsonValue:
    match domain:
        case Choice():
            return domain.values[int(generator.integers(len(domain.values)))]
        case Integer():
            return int(generator.integers(domain.low, domain.high, endpoint=True))
        case LogUniform():
            exponent = generator.uniform(math.log(domain.low), math.log(domain.high))
            return min(max(math.exp(exponent), domain.low), domain.high)  # rounding may leave the range
        case Uniform():
            return float(generator.uniform(domain.low, domain.high))


@dataclass(frozen=True)
class PastTrial:
    """What is known of an earlier trial when the next one is drawn."""

    overrides: Overrides
    state: RunState | None
    """None: it is still at work"""
    value: float | None
    reports: Mapping[int, float] = field(default_factory=dict)
    """global step -> the metric; of a trial that was stopped early these stand for its value"""


def optuna_draw(space: Space, past: Sequence[PastTrial], *, goal: str, seed: int, number: int) -> Overrides:
    """A draw of Optuna's tree-structured Parzen estimator.

    Args:
        space: where to look.
        past: the trials before, in the order of their numbers. Those at work count too: the sampler keeps away from
            them, so that trials side by side do not look at the same place.
        goal: `min` or `max`.
        seed: of the search.
        number: of the trial.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {path: _distribution(space[path]) for path in sorted(space)}
    (sampler_seed,) = np.random.SeedSequence((seed, number)).generate_state(1)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=int(sampler_seed)),
        direction="maximize" if goal == "max" else "minimize",
    )
    study.add_trials([_told(trial, space, distributions) for trial in past])
    params = study.ask(distributions).params
    return {path: _value_of(space[path], params[path]) for path in sorted(space)}


def _distribution(domain: Domain) -> BaseDistribution:
    match domain:
        case Choice():  # by its index: Optuna takes no lists or objects
            return CategoricalDistribution(tuple(range(len(domain.values))))
        case Integer():
            return IntDistribution(domain.low, domain.high)
        case LogUniform() | Uniform():
            return FloatDistribution(domain.low, domain.high, log=isinstance(domain, LogUniform))


def _told(trial: PastTrial, space: Space, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """The trial in Optuna's words. One that failed says nothing about its place."""
    match trial.state:
        case None:
            state = TrialState.RUNNING
        case RunState.SUCCEEDED if trial.value is not None:
            state = TrialState.COMPLETE
        case RunState.STOPPED_EARLY:
            state = TrialState.PRUNED
        case _:
            state = TrialState.FAIL
    return create_trial(
        state=state,
        value=trial.value if state is TrialState.COMPLETE else None,
        intermediate_values=dict(trial.reports) if state is TrialState.PRUNED else None,
        params={path: _param_of(space[path], trial.overrides[path]) for path in sorted(space)},
        distributions=dict(distributions),
    )


def _param_of(domain: Domain, value: JsonValue) -> JsonValue:
    return domain.values.index(value) if isinstance(domain, Choice) else value


def _value_of(domain: Domain, param: JsonValue) -> JsonValue:
    if isinstance(domain, Choice):
        assert isinstance(param, int)  # the categories are indices
        return domain.values[param]
    return param
