"""Follows the log of a job, or of a study's run, over all its attempts."""

import re
from dataclasses import dataclass
from typing import Self

from service.errors import InvalidRequest
from service.jobs.watch_answers import LogGap
from service.run_files.folders import RunFiles
from service.run_files.logs import log_path, read_log
from service.run_files.study_runs import read_found
from service.watching.followers import Seen
from service.watching.frames import end_frame, frame, text_frame

CHUNKS_AT_ONCE = 4
_PLACE = re.compile(r"(\d{1,6})\.(\d{1,15})")


@dataclass(frozen=True)
class Place:
    """A place in a log: the id of the event before it."""

    attempt: int
    """1 or more"""
    offset: int
    """bytes; negative only at a beginning: from the end"""

    def __str__(self) -> str:
        return f"{self.attempt}.{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The place that an id names.

        Raises:
            InvalidRequest: it is none of ours.

        >>> Place.parse("2.4096")
        Place(attempt=2, offset=4096)
        """
        found = _PLACE.fullmatch(text)
        if found is None or int(found[1]) < 1:
            raise InvalidRequest(
                "Last-Event-ID is not one this stream gave out, as 1.4096 for byte 4096 of attempt 1; leave it out to"
                " begin at the beginning"
            )
        return cls(int(found[1]), int(found[2]))


class LogFollower:
    """Tells whole lines from a place on, attempt after attempt, what is no longer kept, and the end.

    An attempt's log is told to its last byte before the next one's: it is finished once the job has gone on to another
    attempt, or has ended, for nothing of an attempt is alive by then.

    Args:
        job_id: of the job.
        files: of the job, or of its run.
        place: where to begin.
        is_run: whether it is a run's log, which ends with the run.
    """

    def __init__(self, job_id: str, files: RunFiles, place: Place, *, is_run: bool) -> None:
        self.job_id = job_id
        self.is_over = False
        self.is_behind = False
        self._files = files
        self._place = place
        self._is_run = is_run

    def advance(self, seen: Seen) -> list[bytes]:
        ended = seen.state.is_terminal or (self._is_run and self._run_has_ended())  # asked before the log is read
        told: list[bytes] = []
        self.is_behind = False
        for _ in range(CHUNKS_AT_ONCE):
            finished = ended or seen.attempt > self._place.attempt
            if self._tell_next(told, finished=finished):
                continue
            if not finished:
                break
            if self._place.attempt >= seen.attempt:
                self.is_over = True
                told.append(end_frame(seen.state))
                break
            self._place = Place(self._place.attempt + 1, 0)
        else:
            self.is_behind = True
        return told

    def _tell_next(self, told: list[bytes], *, finished: bool) -> bool:
        """Add what comes next in the attempt's log; whether there was something."""
        attempt, offset = self._place.attempt, self._place.offset
        chunk = read_log(log_path(self._files, attempt), offset, finished=finished)
        if chunk.next_offset == offset:
            return False
        self._place = Place(attempt, chunk.next_offset)
        if chunk.dropped:
            before = Place(attempt, chunk.next_offset - len(chunk.text))
            told.append(frame("gap", LogGap(attempt=attempt, num_bytes=chunk.dropped), event_id=str(before)))
        if chunk.text:
            text = chunk.text.removesuffix(b"\n").decode(errors="replace")
            told.append(text_frame("log", text, event_id=str(self._place)))
        return True

    def _run_has_ended(self) -> bool:
        """Whether no attempt of the job trains the run any more."""
        found = read_found(self._files)
        return found is not None and (found.failure is None or not found.failure.reason.is_retryable)
