from pathlib import Path

import pytest

from tests.workers.study.pieces import a_run, a_stage
from workers.spool import EventSpool, NoteEvent, ProgressEvent, SpoolReader
from workers.study.pieces import Piece
from workers.study.progress import StudyProgress


@pytest.fixture
def pieces(tmp_path: Path) -> list[Piece]:
    return [
        a_stage(".shared-backbone-0123", tmp_path, work=2),
        a_run("oicr", tmp_path, work=2),
        a_run("sdcn", tmp_path, work=6),
    ]


def says(piece: Piece, fraction: float, stage: str = "loop") -> None:
    piece.order.folder.path.mkdir(parents=True, exist_ok=True)
    spool = EventSpool(piece.order.folder.events)
    spool.append(ProgressEvent(stage=stage, step=3, stage_steps=6, fraction=fraction))
    spool.close()


def study(pieces: list[Piece], tmp_path: Path, done: set[str] | None = None) -> StudyProgress:
    return StudyProgress(pieces, done or set(), EventSpool(tmp_path / "events.jsonl"))


def told(tmp_path: Path) -> tuple[list[ProgressEvent], list[str]]:
    events = SpoolReader(tmp_path / "events.jsonl").read()
    return (
        [event for event in events if isinstance(event, ProgressEvent)],
        [event.text for event in events if isinstance(event, NoteEvent)],
    )


def test_pieces_count_by_their_work(pieces: list[Piece], tmp_path: Path) -> None:
    progress = study(pieces, tmp_path)
    says(pieces[2], 0.05 + 0.95 / 2)  # half of what comes after the data
    progress.tell(ended={".shared-backbone-0123", "oicr"}, at_work={"sdcn"})
    (event,), (note,) = told(tmp_path)
    assert event.fraction == pytest.approx(0.05 + 0.95 * (2 + 2 + 3) / 10)
    assert (event.stage, event.step, event.stage_steps) == ("study", 1, 2)
    assert note == "1 of 2 runs ended; 1 at work: sdcn (loop 3/6)"


def test_shared_stages_are_told_without_their_key(pieces: list[Piece], tmp_path: Path) -> None:
    study(pieces, tmp_path).tell(ended=set(), at_work={".shared-backbone-0123"})
    assert told(tmp_path)[1] == ["0 of 2 runs ended; 1 at work: backbone for several runs (starting)"]


def test_a_piece_that_goes_back_to_its_checkpoint_does_not_take_the_study_back(
    pieces: list[Piece], tmp_path: Path
) -> None:
    progress = study(pieces, tmp_path)
    for fraction in (0.8, 0.3):
        says(pieces[2], fraction)
        progress.tell(ended=set(), at_work={"sdcn"}, now=True)
    fractions = [event.fraction for event in told(tmp_path)[0]]
    assert fractions == sorted(fractions)


def test_what_earlier_attempts_did_counts_from_the_start(pieces: list[Piece], tmp_path: Path) -> None:
    done = {piece.name for piece in pieces}
    study(pieces, tmp_path, done).tell(ended=done, at_work=set())
    assert told(tmp_path)[0][0].fraction == 1
    assert told(tmp_path)[1] == ["2 of 2 runs ended"]


def test_nothing_new_is_told_once(pieces: list[Piece], tmp_path: Path) -> None:
    progress = study(pieces, tmp_path)
    for _ in range(3):
        progress.tell(ended=set(), at_work=set(), now=True)
    assert len(told(tmp_path)[0]) == 1


def test_it_is_not_told_more_often_than_needed(pieces: list[Piece], tmp_path: Path) -> None:
    clock = [0.0]
    progress = StudyProgress(pieces, set(), EventSpool(tmp_path / "events.jsonl"), monotonic=lambda: clock[0])
    for number in range(5):
        clock[0] += 1.0
        says(pieces[1], 0.1 * number + 0.1)
        progress.tell(ended=set(), at_work={"oicr"})
    assert len(told(tmp_path)[0]) == 3


def test_many_at_work_are_counted_not_listed(tmp_path: Path) -> None:
    runs = [a_run(f"run-{number}", tmp_path) for number in range(9)]
    study(runs, tmp_path).tell(ended=set(), at_work=[run.name for run in runs])
    assert told(tmp_path)[1][0].endswith("run-3 (starting), 5 more")
