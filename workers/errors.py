"""What can go wrong around a training, each class saying when.

WorkerError
├── AttemptStopped        somebody asked the attempt to end before it was done, and it did
├── ClusterUnavailable    Ray cannot be reached, or does not answer in time
├── ClusterTooSmall       the cluster can never hold what the job asks for
├── TrainingProcessLost   a training process ended without saying why
├── OutOfMemory           a training process was refused memory, or killed for it
├── AttemptSuperseded     a later attempt of the job has begun; this one, which was thought dead, must write nothing
├── FolderHeld            a process of an earlier attempt still writes where this one must
└── TrackingUnavailable   MLflow does not answer; what it should hear stays on disk

All survive pickling (they carry one message), because some cross Ray's process borders.
"""


class WorkerError(Exception):
    """Base of all errors that the workers raise on purpose."""


class AttemptStopped(WorkerError):
    """The attempt ended early because it was asked to; its last checkpoint is kept."""


class ClusterUnavailable(WorkerError):
    """Ray cannot be reached or does not answer; trying again may help."""


class ClusterTooSmall(WorkerError):
    """No node or no sum of nodes can hold what the job asks for; the message says what is there."""


class TrainingProcessLost(WorkerError):
    """A training process vanished: killed, crashed, or its node is gone."""


class OutOfMemory(WorkerError):
    """A training process was refused memory or killed for it; the same would happen again."""


class AttemptSuperseded(WorkerError):
    """A later attempt of the job has begun: this one was thought dead, and writes nothing more."""


class FolderHeld(WorkerError):
    """A process of an earlier attempt still writes where this one must; it may end by itself."""


class TrackingUnavailable(WorkerError):
    """MLflow does not answer; what it should hear waits on disk."""
