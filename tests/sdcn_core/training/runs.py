"""Whole runs of the preset `tiny` on one or two ranks, without a service."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.datasets import DataRoots
from sdcn_core.pseudo_labels.labels import PseudoLabels
from sdcn_core.training.checkpoint import load_checkpoint
from sdcn_core.training.preparation import prepare_data
from sdcn_core.training.progress import Stage, TrainingHooks, TrainingReport
from sdcn_core.training.ranks import Ranks
from sdcn_core.training.run import RunOutcome
from sdcn_core.training.shared_stages import StageStore
from sdcn_core.training.trainer import run_training
from tests.sdcn_core.training.two_ranks import on_two_ranks


@dataclass
class RecordingHooks:
    """Keeps every report, and the newest checkpoint; asks to stop once a step is reached."""

    kept: Path
    stop_at_step: int | None = None
    reports: list[TrainingReport] = field(default_factory=list)
    checkpoint: Path | None = None

    def prepare(self, module: nn.Module) -> nn.Module:
        return DistributedDataParallel(module) if distributed.is_initialized() else module

    def report(self, report: TrainingReport, checkpoint: Path | None) -> None:
        self.reports.append(report)
        if checkpoint is not None:
            self.checkpoint = self.kept / checkpoint.name
            shutil.move(checkpoint, self.checkpoint)

    def should_stop(self) -> bool:
        last = self.reports[-1].global_step if self.reports else 0
        return self.stop_at_step is not None and last >= self.stop_at_step

    def losses(self) -> dict[int, dict[str, float]]:
        """Global step -> the losses reported there."""
        return {
            report.global_step: {name: value for name, value in report.metrics.items() if name.startswith("loss/")}
            for report in self.reports
            if any(name.startswith("loss/") for name in report.metrics)
        }


@dataclass(frozen=True)
class Place:
    """Folders of one run."""

    roots: DataRoots
    base: Path

    @classmethod
    def below(cls, base: Path, cache: Path) -> "Place":
        base.mkdir(parents=True, exist_ok=True)
        return cls(DataRoots(data=base, cache=cache), base)


def run(
    experiment: ExperimentConfig,
    place: Place,
    *,
    stop_at_step: int | None = None,
    checkpoint: Path | None = None,
    stages: StageStore | None = None,
    until: Stage | None = None,
    pseudo_labels: PseudoLabels | None = None,
) -> tuple[RunOutcome, RecordingHooks]:
    """One run on this process, data prepared."""
    hooks = RecordingHooks(place.base, stop_at_step)
    more = {"stages": stages, "until": until, "pseudo_labels": pseudo_labels}
    return train(experiment, place, hooks, checkpoint=checkpoint, **more), hooks  # type: ignore[arg-type]


def train(
    experiment: ExperimentConfig,
    place: Place,
    hooks: TrainingHooks,
    *,
    checkpoint: Path | None = None,
    stages: StageStore | None = None,
    until: Stage | None = None,
    pseudo_labels: PseudoLabels | None = None,
) -> RunOutcome:
    """One run on this process with hooks of the caller's, data prepared."""
    prepare_data(experiment, place.roots, processes=1, report=lambda _: None)
    work_dir = place.base / "work"
    work_dir.mkdir(exist_ok=True)
    return run_training(
        experiment,
        roots=place.roots,
        weights_root=None,
        hooks=hooks,
        ranks=Ranks.current(torch.device("cpu")),
        checkpoint=checkpoint,
        work_dir=work_dir,
        stages=stages,
        until=until,
        pseudo_labels=pseudo_labels,
    )


def weights(experiment: ExperimentConfig, hooks: RecordingHooks) -> dict[str, torch.Tensor]:
    """What the newest checkpoint holds, by part and name."""
    assert hooks.checkpoint is not None
    checkpoint = load_checkpoint(hooks.checkpoint, experiment, device=torch.device("cpu"))
    return {f"{part}.{name}": value for part, values in checkpoint.networks.items() for name, value in values.items()}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """The names that are not the same, bit by bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def run_on_two_ranks(
    experiment: ExperimentConfig, place: Place, *, stages: StageStore | None = None, until: Stage | None = None
) -> dict[int, dict[str, float]]:
    """The losses of a run on two gloo processes, as the first rank reports them."""
    prepare_data(experiment, place.roots, processes=1, report=lambda _: None)
    losses = place.base / "losses.pt"
    order = (experiment.model_dump_json(), place, losses, stages, until)
    on_two_ranks(_run_as_rank, *order, meet=place.base / "meet")
    return torch.load(losses, weights_only=True)


def _run_as_rank(
    rank: int, experiment_json: str, place: Place, losses: Path, stages: StageStore | None, until: Stage | None
) -> None:
    own = Place.below(place.base / f"rank-{rank}", place.roots.cache)
    _, hooks = run(ExperimentConfig.model_validate_json(experiment_json), own, stages=stages, until=until)
    if rank == 0:
        torch.save(hooks.losses(), losses)
