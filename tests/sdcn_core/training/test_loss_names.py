from pathlib import Path

from sdcn_core.config.loss_names import LOSS_NAMES
from tests.sdcn_core.training.runs import Place, run
from tests.sdcn_core.training.small import small_experiment


def test_the_losses_that_a_client_may_name_are_those_that_training_reports(tmp_path: Path, cache: Path) -> None:
    _, hooks = run(small_experiment(**{"model.detection.box_regression": True}), Place.below(tmp_path, cache))
    reported = {name for losses in hooks.losses().values() for name in losses}
    assert reported == {f"loss/{name}" for name in LOSS_NAMES}
