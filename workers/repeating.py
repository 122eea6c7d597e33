"""One thing, done again and again on a thread of its own."""

import contextvars
import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger()


class Repeating:
    """Does `once` every `interval_s` from `start` to `end`. When it raises, that is logged and it is done again: a
    thread that died would be missed by nobody.

    Its lines in the log name what those of its starter's context do.

    Args:
        name: of the thread.
        once: what is done.
        interval_s: from the end of one time to the next.
        at_once: whether the first time is at the start; False: an interval later.
    """

    def __init__(self, name: str, once: Callable[[], object], *, interval_s: float, at_once: bool = True) -> None:
        self._name = name
        self._once = once
        self._interval_s = interval_s
        self._at_once = at_once
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it was told to end; the last time may still be under way."""
        return self._ended.is_set()

    def start(self) -> None:
        in_our_context = contextvars.copy_context().run
        self._thread = threading.Thread(target=in_our_context, args=(self._run,), name=self._name, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Not again. May be called by `once` itself."""
        self._ended.set()

    def join(self) -> None:
        """End, and wait for what is under way, for one interval at most: it may hang in something that does not
        answer.
        """
        self.end()
        if self._thread is not None:
            self._thread.join(timeout=self._interval_s)

    def _run(self) -> None:
        if self._at_once and not self._ended.is_set():
            self._try()
        while not self._ended.wait(self._interval_s):
            self._try()

    def _try(self) -> None:
        try:
            self._once()
        except Exception:
            log.exception("thread.failed", thread=self._name)
