"""A job of kind `sweep`: a search over fields of one experiment, on Ray Tune."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from sdcn_core.config.base import FrozenConfig
from sdcn_core.config.data import LabelsSource, ScenesSource
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.loss_names import LOSS_NAMES
from sdcn_core.config.search_space import Choice, Domain, Integer, LogUniform, Uniform
from sdcn_core.config.studies import SWEEPS
from service.errors import FieldProblem
from service.jobs.ablation_spec import StudySpec, safe_name
from service.jobs.base_spec import Overrides, overridden, refuse, refused, total_steps, unshareable
from service.jobs.runs import MAX_RUNS, PlannedRun, check_shares, planned, short_value

MetricName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./\- ]{1,100}$")]


class GridSearch(FrozenConfig):
    """Every combination of the values; all domains must be choices."""

    kind: Literal["grid"] = "grid"


class OneAtATimeSearch(FrozenConfig):
    """Each field through its values with the others as in the experiment, and the experiment itself once."""

    kind: Literal["one_at_a_time"] = "one_at_a_time"


class RandomSearch(FrozenConfig):
    """Independent draws."""

    kind: Literal["random"] = "random"
    num_trials: int = Field(ge=1, le=MAX_RUNS)
    seed: int = Field(default=0, ge=0, lt=2**31)


class OptunaSearch(FrozenConfig):
    """Optuna's tree-structured Parzen estimator: later trials are drawn where earlier ones did well."""

    kind: Literal["optuna"] = "optuna"
    num_trials: int = Field(ge=1, le=MAX_RUNS)
    seed: int = Field(default=0, ge=0, lt=2**31)


Search = Annotated[GridSearch | OneAtATimeSearch | RandomSearch | OptunaSearch, Field(discriminator="kind")]


class Asha(FrozenConfig):
    """Asynchronous successive halving: at each rung only the best 1/reduction_factor of the trials goes on."""

    kind: Literal["asha"] = "asha"
    metric: MetricName | None = None
    """reported during training, such as loss/mil or eval/mean_ap; null: the sweep's own"""
    goal: Literal["min", "max"] | None = None
    """null: the sweep's own, where the metric is the sweep's own too; with another metric it must be said"""
    grace_steps: int = Field(ge=1)
    """optimizer steps, over all stages, that every trial may train; the first rung"""
    reduction_factor: int = Field(default=3, ge=2, le=10)


MIDWAY = ("eval/mean_ap", "eval/mean_classification_ap")
"""of a verdict, what a training with evaluation.every_steps reports on its way"""
OF_BOXES = ("mean_ap", "mean_corloc", "ap/", "corloc/", "coco/")
"""beginnings of metrics below eval/ that need boxes"""

PBT_REFUSED = (
    "population based training copies checkpoints between trials in the middle of a stage, where this method's three"
    " networks, optimizers and stages do not fit one another's settings; it was not shown to work here. Use"
    ' {"kind": "asha"}, or search with "optuna"'
)


class SweepSpec(StudySpec):
    """Search fields of an experiment for the best value of a metric."""

    kind: Literal["sweep"] = "sweep"
    study: str | None = Field(default=None, max_length=64)
    """a named sweep from GET /v1/presets, such as figure-5; either this or `space`"""
    space: dict[Annotated[str, Field(min_length=1, max_length=200)], Domain] = Field(
        default_factory=dict, max_length=20
    )
    """dotted path -> where to look"""
    search: Search | None = None
    """null: one_at_a_time for a named study, grid otherwise"""
    metric: MetricName = "eval/mean_ap"
    """by which trials are compared, at their end"""
    goal: Literal["min", "max"] = "max"
    """of a loss it must be said"""
    early_stopping: Asha | None = None
    judge_on: Literal["val", "test"] = "val"
    """the split on which trials are judged: settings are chosen on validation. Of generated scenes it is chosen here;
    of other data `data.source.test_split` names it"""

    @field_validator("early_stopping", mode="before")
    @classmethod
    def _no_population(cls, value: object) -> object:
        if isinstance(value, Mapping) and value.get("kind") in ("pbt", "pb2", "population"):
            raise ValueError(PBT_REFUSED)
        return value

    @model_validator(mode="after")
    def _one_space(self) -> Self:
        if (self.study is None) == (not self.space):
            raise ValueError("give exactly one of study and space; GET /v1/presets lists the studies")
        return self

    def resolve(self) -> Self:
        """This job with its space written out; resolving again changes nothing.

        Raises:
            InvalidSpec: an unknown preset or study, a field that does not exist or refuses a value of its domain, or a
                search that does not fit the space; the message names the field.
        """
        base = self._base()
        self.check_base_seeds(base)
        space = self.space
        search = self.search
        if self.study is not None:
            if self.study not in SWEEPS:
                raise refused("study", f"no sweep is named {self.study!r}; there are: {', '.join(SWEEPS)}")
            space = SWEEPS[self.study]().space
            search = search or OneAtATimeSearch()
        search = search or GridSearch()
        self._check_search(base, space, search)
        resolved = self.model_copy(
            update={
                "name": self.name or self.study or self.preset or "sweep",
                "preset": None,
                "experiment": base,
                "overrides": {},
                "study": None,
                "space": dict(space),
                "search": search,
                "judge_on": base.data.source.test_split
                if isinstance(base.data.source, ScenesSource)
                else self.judge_on,
            }
        )
        if isinstance(search, GridSearch):  # counted before it is written out: a grid may have billions of trials
            self._check_count(math.prod(len(domain.values) for domain in space.values() if isinstance(domain, Choice)))
        if (known := resolved.known_trials()) is not None:
            self._check_count(len(known))
            runs = tuple(
                resolved.run_of(trial, overrides, seed) for trial, overrides in known.items() for seed in self.seeds
            )
            for run in runs:
                self.check_run_seeds(run, under="space")
            check_shares(runs, self.resources.num_workers)
        return resolved

    def _check_count(self, trials: int) -> None:
        if trials * len(self.seeds) > MAX_RUNS:
            raise refused("space", f"{trials} trials times {len(self.seeds)} seeds are over {MAX_RUNS} runs")

    def _base(self) -> ExperimentConfig:
        base = self.fold().with_overrides(self.study_base())
        if isinstance(base.data.source, ScenesSource) and "data.source.test_split" not in self.overrides:
            judged: Overrides = {"data.source.test_split": self.judge_on}
            base = overridden(base, judged, under="judge_on", otherwise="experiment")
        return base

    def _check_search(self, base: ExperimentConfig, space: Mapping[str, Domain], search: Search) -> None:
        tried: dict[str, list[ExperimentConfig]] = {}
        for path, domain in space.items():
            values = _tried(domain)
            tried[path] = [overridden(base, {path: value}, under="space", otherwise="experiment") for value in values]
            if isinstance(domain, Choice):
                _check_distinct(path, values, tried[path])
            if isinstance(search, GridSearch | OneAtATimeSearch) and not isinstance(domain, Choice):
                raise refused(
                    f"space.{path}", f"a {search.kind} search needs values: write {{'kind': 'choice', 'values': [...]}}"
                )
        if isinstance(search, RandomSearch | OptunaSearch) and len(self.seeds) > 1:
            raise refused("seeds", f"a {search.kind} search trains each trial once: give one seed")
        if isinstance(search, RandomSearch | OptunaSearch):
            self._check_drawn_shares(base, tried)
        _check_reported("metric", self.metric, base)
        if self.metric.startswith("loss") and "goal" not in self.model_fields_set:
            raise refused("goal", f"say whether a small or a large {self.metric} is good: 'min' or 'max'")
        stopping = self.early_stopping
        if stopping is not None:
            metric = stopping.metric or self.metric
            _check_reported("early_stopping.metric", metric, base)
            if metric != self.metric and stopping.goal is None:
                raise refused(
                    "early_stopping.goal",
                    f"say whether a small or a large {metric} is good, 'min' or 'max': the sweep's own goal,"
                    f" {self.goal!r}, is about {self.metric}",
                )
            if metric.startswith("eval/") and (metric not in MIDWAY or base.evaluation.every_steps is None):
                raise refused(
                    "early_stopping.metric",
                    f"{metric} is known only at the end of a training: set evaluation.every_steps and stop on"
                    f" {' or '.join(MIDWAY)}, or stop on a loss",
                )
            if stopping.grace_steps >= total_steps(base):
                raise refused(
                    "early_stopping.grace_steps", f"must be less than the {total_steps(base)} steps of a training"
                )

    def _check_drawn_shares(self, base: ExperimentConfig, tried: Mapping[str, Sequence[ExperimentConfig]]) -> None:
        """See check_shares. Of trials that are not known yet, each searched field is judged by values of its domain,
        all others as they are in the experiment.
        """
        problems: dict[FieldProblem, None] = {}
        for path, experiments in {"": [base], **tried}.items():
            for experiment in experiments:
                for problem in unshareable(experiment, self.resources.num_workers):
                    at_fault = problem.field.removeprefix("experiment.")
                    if at_fault == path or at_fault not in tried:
                        problems[problem] = None
        if problems:
            raise refuse(tuple(problems))

    def known_trials(self) -> dict[str, Overrides] | None:
        """Name and overrides of every trial in order, where the search fixes them in advance; else None."""
        match self.search:
            case GridSearch():
                choices = [domain.values for domain in self.space.values() if isinstance(domain, Choice)]
                combinations = [dict(zip(self.space, values, strict=True)) for values in product(*choices)]
            case OneAtATimeSearch():
                tree = self.resolved_experiment.flat_values()
                combinations = [{}]
                for path, domain in self.space.items():
                    assert isinstance(domain, Choice)  # resolve refuses others
                    combinations += [{path: value} for value in domain.values if value != tree.get(path)]
            case _:
                return None
        trials: dict[str, Overrides] = {}
        for number, combination in enumerate(combinations):
            said = "-".join(f"{path.rpartition('.')[2]}-{short_value(v)}" for path, v in combination.items()) or "base"
            trials[f"trial-{number:03d}-{safe_name(said)[:32]}"] = combination
        return trials

    @property
    def num_trials(self) -> int:
        """How many trainings there will be."""
        if isinstance(self.search, RandomSearch | OptunaSearch):
            return self.search.num_trials
        return len(self.known_trials() or ()) * len(self.seeds)

    def run_of(self, trial: str, overrides: Overrides, seed: int) -> PlannedRun:
        """One training of a resolved spec.

        Raises:
            InvalidSpec: an override is refused.
        """
        return planned(
            self.resolved_experiment,
            trial,
            overrides,
            seed,
            seed_data=self.seed_data,
            one_seed=len(self.seeds) == 1,
            under="space",
        )

    @property
    def config_digest(self) -> str:
        """Equal for equal sweeps."""
        return self.digest_without_name()

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all trials, as if none shared a stage and none was stopped early."""
        return self.num_trials * total_steps(self.resolved_experiment)


def _check_reported(field: str, metric: str, base: ExperimentConfig) -> None:
    """Refuse what no training reports: nothing would ever be stopped by it, and no trial would have a value."""
    family, _, name = metric.partition("/")
    source = base.data.source
    if (
        isinstance(source, LabelsSource)
        and source.annotations is None
        and family == "eval"
        and name.startswith(OF_BOXES)
    ):
        raise refused(
            field,
            f"{metric} cannot be counted: data.source has labels and no boxes. Take eval/mean_classification_ap or a"
            " loss, or name the folder of the test split's boxes in data.source.annotations",
        )
    if family == "loss" and name not in LOSS_NAMES:
        raise refused(field, f"no loss is named {name!r}; there are: {', '.join(f'loss/{n}' for n in LOSS_NAMES)}")


def _check_distinct(path: str, values: Sequence[JsonValue], experiments: Sequence[ExperimentConfig]) -> None:
    """Refuse values that make the same experiment, as 1 and 1.0 do: it would be trained twice and count twice."""
    seen: dict[str, JsonValue] = {}
    for value, experiment in zip(values, experiments, strict=True):
        digest = experiment.digest()
        if digest in seen:
            raise refused(f"space.{path}", f"{value!r} and {seen[digest]!r} are the same training: give one of them")
        seen[digest] = value


def _tried(domain: Domain) -> tuple[JsonValue, ...]:
    """Values of a domain that show what its field refuses: all of a choice; the ends of a range, and one between them.

    The ends alone can pass where hardly any draw does: 1.0 and 4.0 are whole numbers, 2 and 4 images are shared evenly.

    >>> _tried(Integer(low=2, high=4)), len(_tried(Uniform(low=1, high=4)))
    ((2, 3, 4), 3)
    """
    match domain:
        case Choice():
            return domain.values
        case Integer():
            return (domain.low, domain.low + 1, domain.high)
        case Uniform() | LogUniform():
            return (domain.low, domain.low + (domain.high - domain.low) / math.pi, domain.high)
