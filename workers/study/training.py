"""A training of a study, wherever its processes run."""

from workers.errors import AttemptStopped
from workers.training.here import EndedEarly, OnReport, train_here
from workers.training.listener import Listener
from workers.training.order import TrainingEnd, TrainingOrder


def train_piece(order: TrainingOrder, *, on_report: OnReport | None = None) -> TrainingEnd:
    """Train to the end: with one worker in this process, with several in a group of Ray Train that it drives.

    Raises:
        AttemptStopped: the attempt was asked to stop; the checkpoint is kept.
        EndedEarly: `on_report` had heard enough.
        SdcnError: the data, the weights or the training itself failed.
        WorkerError: what surrounds the training failed.
    """
    enough = False
    if order.num_workers == 1:
        end = train_here(order, on_report=on_report)
    else:
        from workers.ray_runtime.fit import fit  # takes a second to import, which one worker need not spend

        if on_report is None:
            end = fit(order, storage=order.checkpoints)
        else:
            with Listener(order, on_report) as listener:
                end = fit(order, storage=order.checkpoints)
            enough = listener.enough
    if end.stopped:
        if order.stop.exists() and not enough:
            raise AttemptStopped("the training was asked to stop; its checkpoint is kept")
        raise EndedEarly
    return end
