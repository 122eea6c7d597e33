"""Surroundings of a training without a service: one process, lines of text, checkpoints in a folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

from torch import nn

from sdcn_core.training.checkpoint import FILE_NAME
from sdcn_core.training.progress import Progress, TrainingReport

KEPT_CHECKPOINTS = 2


class TerminalHooks:
    """Prints a line a report and keeps the newest checkpoints.

    Args:
        checkpoints: folder in which they are kept; made when first needed.
        print_line: where the lines go.
    """

    def __init__(self, checkpoints: Path, *, print_line: Callable[[str], None]) -> None:
        self._checkpoints = checkpoints
        self._print_line = print_line

    def prepare(self, module: nn.Module) -> nn.Module:
        return module

    def report(self, report: TrainingReport, checkpoint: Path | None) -> None:
        shown = [
            f"{name}={value:.4g}" for name, value in report.metrics.items() if name.startswith(("loss/", "eval/mean"))
        ]
        self._print_line(f"{_head(report.progress)}  {'  '.join(shown)}".rstrip())
        if checkpoint is not None:
            self._checkpoints.mkdir(parents=True, exist_ok=True)
            shutil.move(checkpoint, self._checkpoints / checkpoint.name)
            for old in self._kept()[:-KEPT_CHECKPOINTS]:
                shutil.rmtree(old)

    def report_data(self, progress: Progress) -> None:
        self._print_line(_head(progress))

    def should_stop(self) -> bool:
        return False

    def latest_checkpoint(self) -> Path | None:
        kept = self._kept()
        return kept[-1] if kept else None

    def _kept(self) -> list[Path]:
        return sorted(path.parent for path in self._checkpoints.glob(f"*/{FILE_NAME}"))


def _head(progress: Progress) -> str:
    return f"{100 * progress.fraction:5.1f} %  {progress.stage.value:<10} {progress.step:>6}/{progress.stage_steps}"
