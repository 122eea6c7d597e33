from pathlib import Path

from workers.ray_runtime.reporting import SpoolCallback, to_payload
from workers.spool import NoteEvent, SpoolReader


def test_what_the_disk_had_no_room_for_is_written_with_the_next_report(tmp_path: Path) -> None:
    events = tmp_path / "attempt-1" / "events.jsonl"  # its folder is missing, as good as a full disk
    callback = SpoolCallback(events, tmp_path)
    callback.after_report(None, [to_payload([NoteEvent(text="first")])], None)
    events.parent.mkdir()
    callback.after_report(None, [to_payload([NoteEvent(text="second")])], None)
    assert [event.text for event in SpoolReader(events).read() if isinstance(event, NoteEvent)] == ["first", "second"]
