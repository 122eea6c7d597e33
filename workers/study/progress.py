"""How far a study is, put together from the spools of its pieces."""

import time
from collections.abc import Callable, Collection, Sequence

from sdcn_core.training.plan import DATA_SHARE
from workers.spool import STUDY, EventSpool, NoteEvent, ProgressEvent, SpoolReader
from workers.study.pieces import Piece
from workers.training.order import RunOrder

INTERVAL_S = 2.0
SHOWN_AT_WORK = 4


class StudyProgress:
    """Follows the pieces and tells the job's spool: one stage `study`, whose steps are runs that have ended.

    Args:
        pieces: all of the study.
        done: names of those that earlier attempts have trained.
        spool: the job's.
        monotonic: for tests.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        done: Collection[str],
        spool: EventSpool,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pieces = pieces
        self._spool = spool
        self._monotonic = monotonic
        self._readers = {piece.name: SpoolReader(piece.order.folder.events) for piece in pieces}
        self._last: dict[str, ProgressEvent] = {}
        self._shares = {piece.name: float(piece.name in done) for piece in pieces}
        self._told_at: float | None = None
        self._told: tuple[float, str] | None = None

    @property
    def fraction(self) -> float:
        """Of the study's work, in [0, 1], data included."""
        total = sum(piece.work for piece in self._pieces)
        mean = sum(piece.work * self._shares[piece.name] for piece in self._pieces) / total if total else 1.0
        return DATA_SHARE + (1 - DATA_SHARE) * mean

    def tell(self, *, ended: Collection[str], at_work: Collection[str], now: bool = False) -> None:
        """Read what the pieces have said, and say it in the job's spool if the last time is a while ago, or `now`.

        Args:
            ended: names of the pieces that have ended, however.
            at_work: names of those that train.
            now: whether to say it at once.
        """
        time_s = self._monotonic()
        if not now and self._told_at is not None and time_s - self._told_at < INTERVAL_S:
            return
        self._told_at = time_s
        self._follow(ended, at_work)
        runs = [piece.name for piece in self._pieces if isinstance(piece.order, RunOrder)]
        over = sum(name in ended for name in runs)
        note = f"{over} of {len(runs)} runs ended" + self._at_work(at_work)
        if self._told == (self.fraction, note):
            return
        self._told = (self.fraction, note)
        self._spool.append(
            ProgressEvent(
                stage=STUDY, step=over, stage_steps=len(runs), fraction=min(1.0, self.fraction), global_step=over
            )
        )
        self._spool.append(NoteEvent(text=note))

    def _follow(self, ended: Collection[str], at_work: Collection[str]) -> None:
        for name in at_work:
            while events := self._readers[name].read():
                for event in events:
                    if isinstance(event, ProgressEvent):
                        self._last[name] = event
                        within = (event.fraction - DATA_SHARE) / (1 - DATA_SHARE)
                        # A piece that is tried again goes back to its checkpoint; the job's fraction does not.
                        self._shares[name] = max(self._shares[name], min(1.0, within))
        self._shares |= dict.fromkeys((name for name in ended if name in self._shares), 1.0)

    def _at_work(self, names: Collection[str]) -> str:
        if not names:
            return ""
        shown = [self._one(name) for name in list(names)[:SHOWN_AT_WORK]]
        more = len(names) - len(shown)
        return f"; {len(names)} at work: " + ", ".join([*shown, *([f"{more} more"] if more else [])])

    def _one(self, name: str) -> str:
        what = name.removeprefix(".shared-").rpartition("-")[0] if name.startswith(".shared-") else name
        told = self._last.get(name)
        shared = " for several runs" if name.startswith(".shared-") else ""
        return f"{what}{shared}" + (f" ({told.stage} {told.step}/{told.stage_steps})" if told else " (starting)")
