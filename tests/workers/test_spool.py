import math
from multiprocessing import get_context
from pathlib import Path

import pytest

from workers.spool import EventSpool, FileEvent, MetricsEvent, NoteEvent, ProgressEvent, ResumedEvent, SpoolReader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_what_is_appended_is_read_back_in_order(path: Path) -> None:
    events = [
        ProgressEvent(stage="data", step=1, stage_steps=9, fraction=0.01, global_step=3),
        MetricsEvent(global_step=3, values={"loss/mil": 0.25}),
        FileEvent(name="results.json", path=Path("/x/results.json")),
        ResumedEvent(global_step=40),
        NoteEvent(text="two\nlines, ünïcode"),
    ]
    spool = EventSpool(path)
    for event in events:
        spool.append(event)
    assert SpoolReader(path).read() == events


def test_half_a_line_is_not_read_until_it_is_whole(path: Path) -> None:
    line = NoteEvent(text="hello").model_dump_json().encode() + b"\n"
    reader = SpoolReader(path)
    path.write_bytes(line + line[:7])
    assert [e.text for e in reader.read()] == ["hello"]
    assert reader.read() == []
    path.write_bytes(line + line)
    assert [e.text for e in reader.read()] == ["hello"]


def test_a_reader_continues_where_another_ended(path: Path) -> None:
    spool = EventSpool(path)
    spool.append(NoteEvent(text="first"))
    first = SpoolReader(path)
    first.read()
    spool.append(NoteEvent(text="second"))
    assert [e.text for e in SpoolReader(path, first.offset).read()] == ["second"]


def test_a_line_broken_by_a_dying_writer_is_passed_over(path: Path) -> None:
    path.write_bytes(b'{"kind": "note", "te\n')
    EventSpool(path).append(NoteEvent(text="after"))
    assert [e.text for e in SpoolReader(path).read()] == ["after"]


def test_a_spool_that_does_not_exist_yet_has_no_events(path: Path) -> None:
    assert SpoolReader(path).read() == []


def test_a_long_spool_is_read_in_pieces_that_lose_nothing(path: Path) -> None:
    spool = EventSpool(path)
    for number in range(50):
        spool.append(NoteEvent(text=f"{number:04d}" * 20))
    reader = SpoolReader(path)
    texts = []
    while events := reader.read(limit_bytes=400):
        texts += [int(e.text[:4]) for e in events]
    assert texts == list(range(50))


def test_nan_and_infinity_arrive(path: Path) -> None:
    EventSpool(path).append(MetricsEvent(global_step=1, values={"a": math.nan, "b": math.inf, "c": -math.inf}))
    values = SpoolReader(path).read()[0].values
    assert math.isnan(values["a"])
    assert (values["b"], values["c"]) == (math.inf, -math.inf)


def test_an_event_that_is_a_file_by_mistake_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="too large for the spool"):
        EventSpool(path).append(NoteEvent(text="x" * 300_000))


def _append_many(path: Path, name: str) -> None:
    spool = EventSpool(path)
    for _ in range(200):
        spool.append(NoteEvent(text=name * 500))


def test_two_processes_do_not_cut_each_others_lines(path: Path) -> None:
    context = get_context("fork")
    writers = [context.Process(target=_append_many, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    texts = [e.text for e in SpoolReader(path).read(limit_bytes=10**9)]
    assert sorted(texts) == ["a" * 500] * 200 + ["b" * 500] * 200
