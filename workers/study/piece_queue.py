"""Which piece of a study is due, decided without a clock, a disk or Ray."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from service.jobs.study_results import RunFailure
from workers.study.pieces import Piece

TRIES = 3
"""of a piece within one attempt, where it fails for a passing reason; as many again in each attempt of the job"""


@dataclass
class PieceQueue:
    """Pieces in the order in which they shall start.

    A piece whose need has failed fails with it, for its reason.
    """

    pieces: Sequence[Piece]
    done: set[str]
    """names of pieces that need not be trained"""
    side_by_side: int
    failures: dict[str, RunFailure] = field(default_factory=dict)
    """of pieces that will not be tried again in this attempt"""
    at_work: dict[str, Piece] = field(default_factory=dict, init=False)
    _tries: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._fail_in_turn()

    @property
    def is_over(self) -> bool:
        return all(piece.name in self.done or piece.name in self.failures for piece in self.pieces)

    def start_due(self) -> list[Piece]:
        """The pieces to start now; from here on they are at work."""
        due = [piece for piece in self._waiting() if piece.needs is None or piece.needs in self.done]
        due = due[: self.side_by_side - len(self.at_work)]
        self.at_work |= {piece.name: piece for piece in due}
        return due

    def ended(self, name: str, failure: RunFailure | None) -> list[str]:
        """A piece at work is at its end; the names of those that have failed now for good, itself and others."""
        del self.at_work[name]
        if failure is None:
            self.done.add(name)
            return []
        self._tries[name] = self._tries.get(name, 0) + 1
        if failure.reason.is_retryable and self._tries[name] < TRIES:
            return []
        self.failures[name] = failure
        return [name, *self._fail_in_turn()]

    def stopped(self, name: str) -> None:
        """A piece at work has left off, to go on another time."""
        del self.at_work[name]

    def _waiting(self) -> Iterable[Piece]:
        settled = self.done | self.failures.keys() | self.at_work.keys()
        return (piece for piece in self.pieces if piece.name not in settled)

    def _fail_in_turn(self) -> list[str]:
        failed = []
        for piece in self._waiting():  # each comes after what it needs
            if piece.needs in self.failures:
                self.failures[piece.name] = self.failures[piece.needs]
                failed.append(piece.name)
        return failed
