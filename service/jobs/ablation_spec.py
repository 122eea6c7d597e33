"""A job of kind `ablation`: variants of one experiment, each with several seeds, and the table that compares them."""

import hashlib
import math
import re
from itertools import product
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from sdcn_core.config.data import Name, ScenesSource
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.studies import ABLATIONS, Variant
from service.errors import InvalidSpec
from service.jobs.base_spec import ExperimentSpec, refused, total_steps
from service.jobs.runs import MAX_RUNS, PlannedRun, check_shares, planned, short_value

Seed = Annotated[int, Field(ge=0, lt=2**31)]
NAME_LENGTH = 48
TITLE_LENGTH = 200
FactorValues = Annotated[tuple[JsonValue, ...], Field(min_length=1, max_length=50)]


class StudySpec(ExperimentSpec):
    """What ablations and sweeps share: one experiment, trained many times side by side."""

    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1, max_length=20)
    """each configuration is trained with each of them"""
    seed_data: bool = True
    """generated data are drawn anew with each seed; of data from files only the training varies"""
    share_stages: bool = True
    """stages in which runs agree are trained once; the numbers are the same either way, the time is not"""
    max_parallel: int | None = Field(default=None, ge=1, le=256)
    """trainings side by side; null: as many as the cluster holds"""

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} name one twice: each configuration is trained once with each")
        return self

    def study_base(self) -> dict[str, JsonValue]:
        """Overrides that every run of a study gets, unless the client says otherwise: judging the untrained network
        again for each run would tell nothing new.
        """
        return {} if "evaluation.baselines" in self.overrides or self.experiment else {"evaluation.baselines": False}

    def check_base_seeds(self, base: ExperimentConfig) -> None:
        """Refuse a seed among the overrides that no run would be trained with: each gets its own of `seeds`.

        Raises:
            InvalidSpec: naming the override.
        """
        for path, seed in self._seeded(base).items():
            if path in self.overrides and self.seeds != (seed,):
                raise self._contradicted(f"overrides.{path}", seed)

    def check_run_seeds(self, run: PlannedRun, *, under: str) -> None:
        """Refuse a run that does not train the seed in whose name it is compared; where there is one seed, runs may
        differ in it.

        Args:
            run: one of the study's.
            under: what the client calls its overrides.

        Raises:
            InvalidSpec: naming the override.
        """
        for path, seed in self._seeded(run.experiment).items():
            if len(self.seeds) > 1 and seed != run.seed:
                raise self._contradicted(f"{under}.{path}", seed)

    def _seeded(self, experiment: ExperimentConfig) -> dict[str, int]:
        """The fields that a run gets its seed in, as they are in the experiment."""
        seeded = {"seed": experiment.seed}
        if self.seed_data and isinstance(experiment.data.source, ScenesSource):
            seeded["data.source.seed"] = experiment.data.source.seed
        return seeded

    def _contradicted(self, field: str, seed: int) -> InvalidSpec:
        way_out = ", or set seed_data to false" if field.endswith("data.source.seed") else ""
        return refused(
            field,
            f"{seed} contradicts seeds, by which each training has its own of {list(self.seeds)}: name seeds there"
            f" alone{way_out}",
        )


class AblationSpec(StudySpec):
    """Train variants of an experiment with several seeds each, and compare them.

    The variants come from a named study, from a list, from factors that are crossed, or from a list and factors: then
    each variant is crossed with them.
    """

    kind: Literal["ablation"] = "ablation"
    study: str | None = Field(default=None, max_length=64)
    """a named ablation from GET /v1/presets, such as table-2; either this or variants and factors"""
    variants: tuple[Variant, ...] = Field(default=(), max_length=100)
    """each with a name, perhaps a title, and overrides on the experiment"""
    factors: dict[Annotated[str, Field(min_length=1, max_length=200)], FactorValues] = Field(
        default_factory=dict, max_length=6
    )
    """dotted path -> values; all combinations are trained"""
    base_variant: Name | None = None
    """the row to which the others are compared; null: the study's, or the first"""

    @model_validator(mode="after")
    def _some_variants(self) -> Self:
        if (self.study is None) == (not self.variants and not self.factors):
            raise ValueError("give exactly one of study and variants (or factors); GET /v1/presets lists the studies")
        return self

    def resolve(self) -> Self:
        """This job with every variant written out; resolving again changes nothing.

        Raises:
            InvalidSpec: an unknown preset or study, or a variant that the experiment refuses; the message names it.
        """
        base = self.fold().with_overrides(self.study_base())
        self.check_base_seeds(base)
        variants, base_variant = self._written_out()
        names = [variant.name for variant in variants]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise refused("variants", f"the name {twice[0]!r} is there twice: names are the rows of the table")
        titled: dict[str, str] = {}
        for variant in variants:
            title = variant.title or variant.name
            if (other := titled.setdefault(title, variant.name)) != variant.name:
                raise refused(
                    f"variants.{variant.name}.title",
                    f"{title!r} is what {other!r} is called too: its bars and curves could not be told apart",
                )
        if base_variant not in names:
            raise refused("base_variant", f"no variant is named {base_variant!r}; there are: {', '.join(names)}")
        resolved = self.model_copy(
            update={
                "name": self.name or self.study or self.preset or "ablation",
                "preset": None,
                "experiment": base,
                "overrides": {},
                "study": None,
                "variants": variants,
                "factors": {},
                "base_variant": base_variant,
            }
        )
        runs = resolved.runs()
        for run in runs:
            self.check_run_seeds(run, under=f"variants.{run.variant}.overrides")
        check_shares(runs, self.resources.num_workers)
        return resolved

    def _written_out(self) -> tuple[tuple[Variant, ...], str]:
        if self.study is not None:
            if self.study not in ABLATIONS:
                raise refused("study", f"no ablation is named {self.study!r}; there are: {', '.join(ABLATIONS)}")
            study = ABLATIONS[self.study]()
            return study.variants, self.base_variant or study.base_variant
        # Counted before they are written out: six factors may have billions of combinations.
        count = max(1, len(self.variants)) * math.prod(map(len, self.factors.values()))
        if count * len(self.seeds) > MAX_RUNS:
            raise refused("factors", f"{count} variants times {len(self.seeds)} seeds are over {MAX_RUNS} runs")
        variants = tuple(_crossed(self.variants, self.factors))
        return variants, self.base_variant or variants[0].name

    def runs(self) -> tuple[PlannedRun, ...]:
        """Every training of a resolved spec, seed by seed.

        Raises:
            InvalidSpec: an override is refused; the message names the variant.
        """
        return tuple(
            planned(
                self.resolved_experiment,
                variant.name,
                variant.overrides,
                seed,
                seed_data=self.seed_data,
                one_seed=len(self.seeds) == 1,
                under=f"variants.{variant.name}.overrides",
            )
            for seed in self.seeds
            for variant in self.variants
        )

    @property
    def config_digest(self) -> str:
        """Equal for equal studies."""
        return self.digest_without_name()

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all runs, as if none shared a stage."""
        return sum(total_steps(run.experiment) for run in self.runs())


def _crossed(variants: tuple[Variant, ...], factors: dict[str, tuple[JsonValue, ...]]) -> list[Variant]:
    crossed = []
    for variant in variants or (None,):
        for values in product(*factors.values()):
            chosen = dict(zip(factors, values, strict=True))
            label = ", ".join(f"{path.rpartition('.')[2]} {short_value(value)}" for path, value in chosen.items())
            parts = [*([variant.name] if variant else []), *([label] if label else [])]
            title = ", ".join([*([variant.title or variant.name] if variant else []), *([label] if label else [])])
            crossed.append(
                Variant(
                    name=variant.name if variant and not factors else safe_name("-".join(parts)),
                    title=_shortened(title, TITLE_LENGTH),
                    overrides={**(variant.overrides if variant else {}), **chosen},
                )
            )
    return crossed


def safe_name(text: str) -> str:
    """The text as a name of letters, digits, '_', '.' and '-', at most 48 long.

    >>> safe_name("tau_0 0.5, seed [1]"), safe_name("learning_rate 0.1, lambda_adv 0.5, lambda_seg 0.001")
    ('tau_0-0.5-seed-1', 'learning_rate-0.1-lambda_adv-0.5-lambda-a4881844')
    """
    return _shortened(re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-_."), NAME_LENGTH) or "variant"


def _shortened(text: str, length: int) -> str:
    """The text if it is no longer than this, else its beginning and its digest: long ones often differ at their end."""
    if len(text) <= length:
        return text
    return f"{text[: length - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
