from pathlib import Path

import pytest

from sdcn_core.training.progress import Progress, Stage, TrainingReport
from tests.workers.conftest import wait_until
from tests.workers.study.pieces import a_run
from workers.spool import EventSpool
from workers.training.events import events_of
from workers.training.listener import Listener
from workers.training.order import TrainingOrder


@pytest.fixture
def order(tmp_path: Path) -> TrainingOrder:
    order = a_run("sdcn", tmp_path).order
    order.folder.path.mkdir(parents=True)
    return order


def report(step: int, stage: Stage = Stage.LOOP, **metrics: float) -> TrainingReport:
    return TrainingReport(Progress(stage, step, 9, 0.5), step, metrics)


def say(order: TrainingOrder, *reports: TrainingReport) -> None:
    spool = EventSpool(order.folder.events)
    for one in reports:
        for event in events_of(one, {}):
            spool.append(event)
    spool.close()


def test_reports_with_metrics_are_heard_as_they_were_made(order: TrainingOrder) -> None:
    heard: list[TrainingReport] = []
    with Listener(order, lambda one: bool(heard.append(one))):
        say(order, report(3, loss=0.5), report(4), report(5, loss=0.25))
    assert heard == [report(3, loss=0.5), report(5, loss=0.25)]


def test_what_an_earlier_try_said_is_not_heard_again(order: TrainingOrder) -> None:
    say(order, report(3, loss=0.5))
    heard: list[TrainingReport] = []
    with Listener(order, lambda one: bool(heard.append(one))):
        pass
    assert heard == []


def test_enough_stops_this_training_and_no_other(order: TrainingOrder) -> None:
    with Listener(order, lambda one: one.global_step >= 5) as listener:
        say(order, report(3, loss=0.5))
        say(order, report(5, loss=0.25))
        wait_until(order.folder.stop.exists)
    assert listener.enough
    assert order.wants_stop
    assert not order.stop.exists()


def test_while_it_is_judged_a_training_goes_on(order: TrainingOrder) -> None:
    with Listener(order, lambda _: True) as listener:
        say(order, report(9, Stage.EVALUATE, loss=0.5))
    assert not listener.enough
    assert not order.wants_stop


def test_what_the_listener_raises_is_told_and_stops_the_training(order: TrainingOrder) -> None:
    def broken(_: TrainingReport) -> bool:
        raise RuntimeError("no more room")

    def train() -> None:
        with Listener(order, broken):
            say(order, report(3, loss=0.5))
            wait_until(order.folder.stop.exists)

    with pytest.raises(RuntimeError, match="no more room"):
        train()
