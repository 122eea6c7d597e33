from pathlib import Path

import pytest
import torch

from sdcn_core.training.progress import Progress, Stage, TrainingReport
from sdcn_core.training.ranks import Ranks
from tests.workers.study.pieces import a_run
from workers.errors import AttemptSuperseded
from workers.ray_runtime.hooks import RayHooks


def test_a_process_of_ray_train_reports_nothing_once_a_later_attempt_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[object] = []
    monkeypatch.setattr("ray.train.report", lambda *what, **more: reported.append((what, more)))
    order = a_run("sdcn", tmp_path / "attempt-1").order
    hooks = RayHooks(order, Ranks(0, 1, torch.device("cpu")), None)
    report = TrainingReport(Progress(Stage.LOOP, 1, 2, 0.5), 1, {})
    hooks.report(report, None)
    (order.stop.parents[1] / f"attempt-{order.attempt + 1}").mkdir(parents=True)
    with pytest.raises(AttemptSuperseded):
        hooks.report(report, None)
    assert len(reported) == 1
