from pathlib import Path

import pytest
from ray.exceptions import ActorUnavailableError, RaySystemError

from tests.workers.study.pieces import a_run
from workers.errors import ClusterUnavailable, TrainingProcessLost, WorkerError
from workers.ray_runtime import fit


@pytest.mark.parametrize(
    ("of_ray", "told"),
    [(ActorUnavailableError("gone", None), TrainingProcessLost), (RaySystemError("no raylet"), ClusterUnavailable)],
)
def test_that_ray_itself_was_lost_is_told_in_words_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_ray: Exception, told: type[WorkerError]
) -> None:
    class Trainer:
        def __init__(self, *_: object, **__: object) -> None: ...

        def fit(self) -> None:
            raise of_ray

    monkeypatch.setattr(fit, "TorchTrainer", Trainer)
    order = a_run("sdcn", tmp_path).order
    with pytest.raises(told):
        fit.fit(order, storage=tmp_path)
