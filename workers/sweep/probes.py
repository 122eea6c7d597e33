"""Which runs tell what the trials of a sweep have in common, before all of them are known."""

from pydantic import JsonValue

from sdcn_core.config.search_space import Choice, Domain, Integer, evenly_spaced
from service.errors import InvalidSpec
from service.jobs.runs import PlannedRun
from service.jobs.sweep_spec import SweepSpec


def known_runs(spec: SweepSpec) -> tuple[PlannedRun, ...] | None:
    """Every run of a search that fixes them in advance, in order; None where they are drawn one after another."""
    trials = spec.known_trials()
    if trials is None:
        return None
    return tuple(spec.run_of(trial, overrides, seed) for trial, overrides in trials.items() for seed in spec.seeds)


def probes(spec: SweepSpec) -> tuple[PlannedRun, ...]:
    """Runs whose shared stages the trials share: all of them where they are known, else two that differ in every
    searched field that has two values; empty where such two cannot be composed.
    """
    known = known_runs(spec)
    if known is not None:
        return known
    try:
        return tuple(
            spec.run_of(name, {path: _end(domain, index) for path, domain in spec.space.items()}, spec.seeds[0])
            for name, index in (("probe-low", 0), ("probe-high", -1))
        )
    except InvalidSpec:  # each end alone is possible, all of them together are not
        return ()


def _end(domain: Domain, index: int) -> JsonValue:
    if isinstance(domain, Choice):
        return domain.values[index]
    end = evenly_spaced(domain, 2)[index]
    return int(end) if isinstance(domain, Integer) else end
