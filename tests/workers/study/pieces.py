"""Pieces without a training behind them."""

from pathlib import Path

from sdcn_core.config.presets import tiny
from workers.study.pieces import Piece
from workers.training.order import RunOrder, TrainingOrder


def a_run(name: str, home: Path = Path("/nowhere"), *, needs: str | None = None, work: float = 1.0) -> Piece:
    order = RunOrder(**_common(name, home), name=name, variant=name, seed=0, overrides={})
    return Piece(name, order, needs, work)


def a_stage(name: str, home: Path = Path("/nowhere"), *, needs: str | None = None, work: float = 1.0) -> Piece:
    return Piece(name, TrainingOrder(**_common(name, home)), needs, work)


def _common(name: str, home: Path) -> dict[str, object]:
    return {
        "experiment": tiny(),
        "run_path": home / "runs" / name,
        "attempt": 1,
        "stop": home / "stop",
        "home": home,
        "data_root": home,
        "weights_root": home,
        "cpus": 1,
        "checkpoints_to_keep": 2,
    }
