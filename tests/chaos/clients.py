"""People who use the service meanwhile: tiny trainings are submitted, some paused and resumed, some cancelled."""

import random
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from service.client.client import SdcnClient
from service.client.errors import ApiProblem, ClientError
from service.jobs.answers import JobRead
from service.jobs.specs import TrainSpec
from service.jobs.states import Desired, JobState
from tests.workers.conftest import wait_until

CHECKPOINT_EVERY_STEPS = 6
OVERRIDES = {
    "schedule.loop_steps": 60,
    "schedule.report_every_steps": 2,
    "schedule.checkpoint_every_steps": CHECKPOINT_EVERY_STEPS,
    "evaluation.baselines": False,
}
"""beside the preset `tiny`: long enough to be killed, and with many checkpoints"""
OPEN_JOBS = 3
"""that the clients want to have in the service"""
MEDDLING = 0.008
"""share of a client's turns in which it pauses or cancels a job: about one of a job's life among kills"""
RESUMING = 0.05
"""share of the turns in which a job that is paused is resumed"""
CONFLICT = 409


@dataclass
class Asked:
    """One job that was submitted, by its key."""

    key: str
    job_id: str | None = None
    """None: no answer has come yet, so nothing was promised"""
    state: JobState | None = None
    """as last heard"""
    desired: Desired = Desired.RUN


@dataclass
class Clients:
    """One thread that takes its turns while the block lasts. What it is refused or cannot send it tries again later.

    Args:
        url: of the API.
        chance: decides who is paused and cancelled.
        jobs: no more than so many are submitted, and they are left alone; None: as many as the service takes.
    """

    url: str
    chance: random.Random
    jobs: int | None = None
    asked: list[Asked] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """answers that break a promise"""
    unanswered: int = 0
    """requests that found nobody, or a service that could not"""

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def finish(self, *, timeout_s: float) -> None:
        """Submit nothing more, resume what is paused, and wait until every job that was promised has ended."""
        self._closing.set()
        wait_until(lambda: all(asked.state is not None and asked.state.is_terminal for asked in self.asked), timeout_s)

    @property
    def open(self) -> list[Asked]:
        """What has not ended, as far as was heard."""
        return [asked for asked in self.asked if asked.state is None or not asked.state.is_terminal]

    def _run(self) -> None:
        with SdcnClient(self.url, timeout_s=10) as client:
            while not self._ended.wait(self.chance.uniform(0.2, 1.0)):
                try:
                    self._turn(client)
                except ClientError as error:
                    self._take(error)
                except Exception as error:  # a dead thread would let the others wait for ever
                    self.complaints.append(f"a client failed: {error!r}")

    def _take(self, error: ClientError) -> None:
        if error.may_pass:
            self.unanswered += 1
        elif not isinstance(error, ApiProblem) or error.status != CONFLICT:
            self.complaints.append(f"a client was told: {error}")

    def _turn(self, client: SdcnClient) -> None:
        self._submit(client)
        for asked in self.open:
            if asked.job_id is not None:
                self._heard(asked, client.get(asked.job_id))
        at_hand = [asked for asked in self.open if asked.job_id is not None]
        if self._closing.is_set():
            for asked in at_hand:
                if asked.state is JobState.PAUSED or asked.desired is Desired.PAUSE:
                    self._heard(asked, client.resume(asked.job_id or ""))
        elif at_hand and self.jobs is None:
            self._meddle(client, self.chance.choice(at_hand))

    def _submit(self, client: SdcnClient) -> None:
        waiting = next((asked for asked in self.asked if asked.job_id is None), None)
        if waiting is None:
            if self._closing.is_set() or len(self.open) >= OPEN_JOBS or len(self.asked) == self.jobs:
                return
            waiting = Asked(key=f"chaos-{len(self.asked)}")
            self.asked.append(waiting)
        spec = TrainSpec.model_validate({"preset": "tiny", "overrides": {**OVERRIDES, "seed": len(self.asked)}})
        job = client.submit(spec, idempotency_key=waiting.key, tries=1)
        waiting.job_id = job.id
        self._heard(waiting, job)

    def _meddle(self, client: SdcnClient, asked: Asked) -> None:
        job_id = asked.job_id or ""
        if asked.desired is Desired.PAUSE:
            if self.chance.random() < RESUMING:
                self._heard(asked, client.resume(job_id))
        elif self.chance.random() < MEDDLING:
            match self.chance.choice(("pause", "pause", "cancel", "kill")):
                case "pause":
                    self._heard(asked, client.pause(job_id))
                case "cancel":
                    self._heard(asked, client.cancel(job_id))
                case _:
                    self._heard(asked, client.cancel(job_id, force=True))

    def _heard(self, asked: Asked, job: JobRead) -> None:
        if job.id != asked.job_id:
            self.complaints.append(f"key {asked.key} made {asked.job_id} and {job.id}")
        asked.state, asked.desired = job.state, job.desired
