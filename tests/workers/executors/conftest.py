from pathlib import Path

import pytest

from service.jobs.specs import JobSpec
from tests.workers.executors.trained import ContextOf, write_model
from workers.attempt_folder import AttemptOrder, RayOrder, RunFolder
from workers.executors.base import JobContext
from workers.spool import EventSpool


@pytest.fixture
def context_of(tmp_path: Path) -> ContextOf:
    """The context of a job `job` in a home where job `abc` has left a model."""
    write_model(RunFolder(tmp_path, "abc").artifacts / "model.pt")

    def make(spec: JobSpec) -> JobContext:
        folder = RunFolder(tmp_path, "job").attempt(1)
        folder.path.mkdir(parents=True)
        order = AttemptOrder(
            job_id="job",
            attempt=1,
            spec=spec,
            home=tmp_path,
            data_root=tmp_path / "data",
            weights_root=tmp_path / "weights",
            scratch=tmp_path,
            ray=RayOrder(address="local", auth_mode="token", start_timeout_s=60, num_cpus=1, checkpoints_to_keep=2),
        )
        return JobContext(order, folder, EventSpool(folder.events))

    return make
