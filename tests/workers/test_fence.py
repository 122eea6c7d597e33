from pathlib import Path

import pytest

from workers.errors import AttemptSuperseded
from workers.fence import check_fence, seal_spools
from workers.spool import EventSpool, NoteEvent, SpoolReader


def said(spool: Path) -> list[str]:
    return [event.text for event in SpoolReader(spool).read() if isinstance(event, NoteEvent)]


def test_the_newest_attempt_passes_and_an_earlier_one_does_not(tmp_path: Path) -> None:
    for number in (9, 10):
        (tmp_path / f"attempt-{number}").mkdir()
    check_fence(tmp_path, 10)
    with pytest.raises(AttemptSuperseded, match="attempt 9 has been taken over by a later one"):
        check_fence(tmp_path, 9)


@pytest.mark.parametrize("folder", ["attempt-1", "runs/trial-0/attempt-1"])
def test_what_is_said_into_a_sealed_spool_is_not_found(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "events.jsonl"
    path.parent.mkdir(parents=True)
    spool = EventSpool(path)
    spool.append(NoteEvent(text="before"))
    for _ in range(2):
        seal_spools(tmp_path, before=2)
        spool.append(NoteEvent(text="after"))
    assert said(path) == ["before"]


def test_the_spool_of_the_attempt_that_begins_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "attempt-2" / "events.jsonl"
    path.parent.mkdir()
    spool = EventSpool(path)
    seal_spools(tmp_path, before=2)
    spool.append(NoteEvent(text="heard"))
    assert said(path) == ["heard"]
