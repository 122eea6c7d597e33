import threading
import time
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from workers.repeating import Repeating

LONG_S = 60.0


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hangs in a test goes on after it."""
    event = threading.Event()
    yield event
    event.set()


def test_what_fails_is_told_and_done_again() -> None:
    again = threading.Event()

    def once() -> None:
        if not failed:
            failed.append(True)
            raise OSError("away")
        again.set()

    failed: list[bool] = []
    with capture_logs() as lines:
        beats = Repeating("beats", once, interval_s=0.001)
        beats.start()
        assert again.wait(LONG_S)
        beats.end()
    assert ("thread.failed", "beats") in [(line["event"], line.get("thread")) for line in lines]


def test_the_first_time_is_at_the_start_or_an_interval_later() -> None:
    done = threading.Event()
    at_once = Repeating("at-once", done.set, interval_s=LONG_S)
    later_done: list[bool] = []
    later = Repeating("later", lambda: later_done.append(True), interval_s=LONG_S, at_once=False)
    later.start()
    at_once.start()
    assert done.wait(LONG_S)
    for one in (later, at_once):
        one.end()
        one.join()
    assert not later_done


def test_it_may_end_itself() -> None:
    times: list[int] = []

    def once() -> None:
        times.append(len(times))
        if len(times) == 3:
            beats.end()

    beats = Repeating("beats", once, interval_s=0.001)
    beats.start()
    beats._thread.join(LONG_S)  # type: ignore[union-attr]  # it has been started
    assert times == [0, 1, 2]
    assert beats.has_ended


def test_nobody_waits_for_what_hangs(release: threading.Event) -> None:
    under_way = threading.Event()

    def once() -> None:
        under_way.set()
        release.wait(LONG_S)

    beats = Repeating("beats", once, interval_s=0.05)
    beats.start()
    assert under_way.wait(LONG_S)
    began = time.monotonic()
    beats.join()
    assert time.monotonic() - began < LONG_S / 2


def test_it_knows_the_context_of_whoever_starts_it() -> None:
    heard: list[object] = []
    done = threading.Event()

    def once() -> None:
        heard.append(structlog.contextvars.get_contextvars().get("job_id"))
        done.set()

    with structlog.contextvars.bound_contextvars(job_id="abc"):
        beats = Repeating("beats", once, interval_s=LONG_S)
        beats.start()
    assert done.wait(LONG_S)
    beats.end()
    assert heard == ["abc"]


def test_one_that_was_never_started_ends() -> None:
    beats = Repeating("beats", lambda: None, interval_s=LONG_S)
    beats.join()
    assert beats.has_ended
