from service.jobs.states import FailureReason
from service.jobs.study_results import RunFailure
from tests.workers.study.pieces import a_run, a_stage
from workers.study.piece_queue import TRIES, PieceQueue

LOST = RunFailure(reason=FailureReason.LOST_WORKER, message="gone")
DIVERGED = RunFailure(reason=FailureReason.DIVERGED, message="nan")

FAMILY = (
    a_stage("backbone"),
    a_stage("classifier", needs="backbone"),
    a_run("oicr", needs="backbone"),
    a_run("sdcn", needs="classifier"),
    a_run("alone"),
)


def names(queue: PieceQueue) -> list[str]:
    return [piece.name for piece in queue.start_due()]


def test_a_piece_is_due_when_what_it_needs_is_trained() -> None:
    queue = PieceQueue(FAMILY, set(), side_by_side=9)
    assert names(queue) == ["backbone", "alone"]
    queue.ended("backbone", None)
    assert names(queue) == ["classifier", "oicr"]
    queue.ended("classifier", None)
    assert names(queue) == ["sdcn"]


def test_no_more_are_at_work_than_fit() -> None:
    queue = PieceQueue([a_run(name) for name in "abc"], set(), side_by_side=2)
    assert names(queue) == ["a", "b"]
    assert names(queue) == []
    queue.ended("a", None)
    assert names(queue) == ["c"]


def test_what_earlier_attempts_have_trained_is_not_trained_again() -> None:
    queue = PieceQueue(FAMILY, {"backbone", "classifier", "oicr", "alone"}, side_by_side=9)
    assert names(queue) == ["sdcn"]
    queue.ended("sdcn", None)
    assert queue.is_over


def test_a_failed_stage_fails_exactly_those_that_need_it_and_says_its_reason() -> None:
    queue = PieceQueue(FAMILY, set(), side_by_side=9)
    queue.start_due()
    queue.ended("backbone", None)
    queue.start_due()
    assert queue.ended("classifier", DIVERGED) == ["classifier", "sdcn"]
    assert queue.failures["sdcn"] == DIVERGED
    assert not queue.is_over  # oicr and alone go on


def test_a_failure_travels_through_stages_that_never_began() -> None:
    queue = PieceQueue(FAMILY, set(), side_by_side=9)
    queue.start_due()
    assert queue.ended("backbone", DIVERGED) == ["backbone", "classifier", "oicr", "sdcn"]


def test_a_lost_piece_is_tried_again_and_given_up_in_the_end() -> None:
    queue = PieceQueue([a_run("a")], set(), side_by_side=1)
    for _ in range(TRIES - 1):
        assert names(queue) == ["a"]
        assert queue.ended("a", LOST) == []
    assert names(queue) == ["a"]
    assert queue.ended("a", LOST) == ["a"]
    assert queue.is_over


def test_a_diverged_piece_is_not_tried_again() -> None:
    queue = PieceQueue([a_run("a")], set(), side_by_side=1)
    queue.start_due()
    assert queue.ended("a", DIVERGED) == ["a"]
    assert queue.is_over


def test_a_piece_that_left_off_is_neither_done_nor_failed() -> None:
    queue = PieceQueue([a_run("a")], set(), side_by_side=1)
    queue.start_due()
    queue.stopped("a")
    assert not queue.is_over
    assert not queue.failures


def test_without_pieces_it_is_over() -> None:
    assert PieceQueue((), set(), side_by_side=1).is_over
