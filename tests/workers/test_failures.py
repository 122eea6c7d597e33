import errno

import pytest

from sdcn_core.errors import CheckpointError, DatasetError, TrainingDiverged, WeightsError
from service.jobs.states import FailureReason
from workers.errors import AttemptStopped, ClusterTooSmall, ClusterUnavailable, OutOfMemory, TrainingProcessLost
from workers.failures import failure_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DatasetError("a.xml is broken"), FailureReason.BAD_INPUT),
        (WeightsError("vgg.pth is missing"), FailureReason.BAD_INPUT),
        (ClusterTooSmall("too small"), FailureReason.BAD_INPUT),
        (TrainingDiverged("loss/mil is nan"), FailureReason.DIVERGED),
        (OutOfMemory("no memory"), FailureReason.OUT_OF_MEMORY),
        (MemoryError(), FailureReason.OUT_OF_MEMORY),
        (TrainingProcessLost("gone"), FailureReason.LOST_WORKER),
        (ClusterUnavailable("away"), FailureReason.INFRASTRUCTURE),
        (CheckpointError("torn"), FailureReason.INFRASTRUCTURE),
        (KeyError("x"), FailureReason.INFRASTRUCTURE),
    ],
)
def test_each_error_has_its_reason(error: Exception, reason: FailureReason) -> None:
    assert failure_of(error).reason is reason


def test_an_error_raised_on_purpose_speaks_for_itself() -> None:
    assert failure_of(DatasetError("a.xml: no <size>; write it")).message == "a.xml: no <size>; write it"


def test_a_defect_is_named_but_its_text_is_not_shown() -> None:
    message = failure_of(RuntimeError("Traceback: secret /root/path")).message
    assert "RuntimeError" in message
    assert "secret" not in message


def test_a_full_disk_is_said_to_be_full() -> None:
    message = failure_of(OSError(errno.ENOSPC, "No space left on device", "/data/x")).message
    assert message.startswith("the disk is full (/data/x)")


def test_a_message_is_bounded() -> None:
    assert len(failure_of(DatasetError("x" * 100_000)).message) == 2000


@pytest.mark.parametrize(
    "kind", [AttemptStopped, ClusterTooSmall, ClusterUnavailable, OutOfMemory, TrainingProcessLost]
)
def test_errors_survive_crossing_a_process_border(kind: type[Exception]) -> None:
    import pickle

    copy = pickle.loads(pickle.dumps(kind("why")))
    assert (type(copy), str(copy)) == (kind, "why")
