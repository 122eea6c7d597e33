"""What ended and deleted jobs leave behind where all workers see it, and the reconciler's steps against it.

Each step finds its work by what is there, and leaves nothing behind by which it would find it again.
"""

from datetime import UTC, datetime, timedelta

import structlog

from service.checkpoint_storage import CheckpointStorage, Place, asked, remove
from service.errors import JobNotFound
from service.jobs.states import JobState
from service.queue.repository import JobQueue
from service.run_files.checkpoints import PREFIX
from workers.attempt_folder import AttemptFolder
from workers.orphans import remove_placement_groups
from workers.tracking.experiment_log import ExperimentLog

log = structlog.get_logger()

CHECKPOINTS = (
    f"*/{PREFIX}*",
    f"*/checkpoints/{PREFIX}*",
    f"*/runs/*/{PREFIX}*",
    f"*/runs/*/checkpoints/{PREFIX}*",
)
"""below the folder of all jobs: of a training, and of the runs of a study"""


class Leftovers:
    """The steps, on the files below one folder of runs, and on its checkpoints wherever they lie."""

    def __init__(
        self,
        queue: JobQueue,
        experiment_log: ExperimentLog,
        storage: CheckpointStorage,
        *,
        checkpoint_retention_s: float | None,
    ) -> None:
        self._queue = queue
        self._log = experiment_log
        self._runs = storage.runs
        self._storage = storage
        self._retention_s = checkpoint_retention_s

    def remove_deleted(self) -> list[str]:
        """Remove the folders and MLflow runs of deleted jobs; ids of those of which nothing is left.

        Raises:
            WorkerError, CheckpointsUnavailable, OSError: something cannot be removed now; the note stays.
        """
        deleted = [deletion.job_id for deletion in self._queue.deletions()]
        for job_id in deleted:  # first all folders: MLflow may be away for long
            remove(self._storage.of(self._runs / job_id))
            remove(self._runs / job_id)
        for job_id in deleted:
            self._log.forget(job_id)
            self._queue.deleted(job_id)
        return deleted

    def free_clusters(self) -> None:
        """Give back what attempts of dead workers have reserved in a shared cluster.

        A worker does so for its own attempts; this is for those whose machine never came back.
        """
        for path in sorted(self._runs.glob("*/attempt-*/ray_job.txt")):
            folder = AttemptFolder(path.parent)
            try:
                job = self._queue.get(folder.run_path.name)
            except JobNotFound:
                continue  # another database's job: not ours to judge
            if not (job.state.is_leased and job.attempt == folder.number):
                remove_placement_groups(folder)

    def thin_checkpoints(self) -> list[str]:
        """Remove the checkpoints of trainings that succeeded long ago and that no job is to judge; ids of the jobs."""
        if self._retention_s is None:
            return []
        thinned = []
        for job_id, checkpoints in self._checkpoints().items():
            if self._are_over(job_id, timedelta(seconds=self._retention_s)):
                for checkpoint in checkpoints:
                    remove(checkpoint)
                thinned.append(job_id)
        return thinned

    def _checkpoints(self) -> dict[str, list[Place]]:
        root = self._storage.root
        found: dict[str, list[Place]] = {}
        with asked(root):
            for pattern in CHECKPOINTS:
                paths: list[Place] = list(root.glob(pattern))
                for path in sorted(paths, key=str):
                    found.setdefault(path.parts[len(root.parts)], []).append(path)
        return found

    def _are_over(self, job_id: str, retention: timedelta) -> bool:
        try:
            job = self._queue.get(job_id)
        except JobNotFound:
            return False
        if job.state is not JobState.SUCCEEDED or job.ended_at is None:
            return False  # what failed or was cancelled may be tried again from them
        return datetime.now(UTC) - job.ended_at >= retention and not self._queue.users_of_model(job_id)
