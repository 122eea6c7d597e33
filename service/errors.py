"""What the service refuses or cannot do, each with the HTTP status a client sees and a sentence with the way out.

ServiceError                     500
├── InvalidSpec                  422  a job's spec contradicts itself; `fields` names where
├── InvalidRequest               400  a header, cursor or body cannot be read at all
├── JobNotFound                  404  likewise RunNotFound, ArtifactNotFound, ModelNotFound, CheckpointNotFound
├── IdempotencyKeyReused         422  the same key came with another body
├── JobAlreadyEnded              409  nothing is left to cancel, pause or resume
├── JobBusy                      409  what is asked must wait for what goes on
├── JobNeeded                    409  it cannot be deleted: a data set, a job or a model needs it
├── SpecUnreadable               409  another version stored what the job is to do
├── ResultsNotReady              409  the job has not succeeded (yet); of a study's table TableNotReady
├── ChampionUnclear              409  `champion` alone, and not exactly one is
├── LogNotFound                  404  the attempt has left no log
├── TooManyStreams               503  as many streams are open as there may be; likewise while the service stops
├── DatasetNotFound              404  no data set is registered under this name
├── DatasetExists                409  one is already
├── DatasetInUse                 409  jobs that have not ended use it
├── WebhookNotFound              404  no webhook has this id
├── WebhookRefused               422  its address may not be reached
├── TooManyWebhooks              409  as many are registered as there may be
├── KeyNotFound                  404  no key has this id
├── LastAdminKey                 409  nobody could give out keys any more
├── QuotaExceeded                429  the key has as much as it may have at once
├── PredictorRefused                  the predictor cannot use the images; the status is its own
├── PredictorUnavailable         503  likewise RegistryUnavailable: what answers this is away
├── DatabaseUnavailable          503  the queue cannot be reached; trying again later helps
├── CheckpointsUnavailable       503  the store of checkpoints does not answer; likewise
├── NotReady                     503  asked whether it can take jobs in, the service cannot; `fields` names what is down
├── LeaseLost                    409  a worker's claim is no longer its own; it must write nothing
└── IllegalTransition            500  a defect of ours: the transition table forbids the move
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldProblem:
    """One field that was refused."""

    field: str
    """dotted path from the top of the body, "" for the body as a whole"""
    message: str


class ServiceError(Exception):
    """Base of all errors of this room; the message is a sentence for whoever called."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "The service failed"
    retry_after_s: ClassVar[int | None] = None
    """when to ask again, where that may help"""

    def __init__(self, detail: str, fields: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(detail, fields)
        self.detail = detail
        self.fields = fields

    def __str__(self) -> str:
        return self.detail


class InvalidSpec(ServiceError):
    """A job's spec is refused; every field at fault is in `fields`."""

    status = 422
    title = "The job's spec is not valid"


class InvalidRequest(ServiceError):
    """A header, cursor or body that cannot be read."""

    status = 400
    title = "The request cannot be read"


class JobNotFound(ServiceError):
    """No job has this id."""

    status = 404
    title = "No such job"


class RunNotFound(ServiceError):
    """The job has no run of this name, or nothing has been written of it yet."""

    status = 404
    title = "No such run"


class ArtifactNotFound(ServiceError):
    """The job or run has left no file of this name."""

    status = 404
    title = "No such artifact"


class ModelNotFound(ServiceError):
    """No finished training has left a model under this id."""

    status = 404
    title = "No such model"


class CheckpointNotFound(ServiceError):
    """The training keeps no checkpoint of this step."""

    status = 404
    title = "No such checkpoint"


class LogNotFound(ServiceError):
    """The attempt has left no log, or there is no such attempt."""

    status = 404
    title = "No such log"


class TooManyStreams(ServiceError):
    """Every stream that the service may hold open is open, or it is about to stop."""

    status = 503
    title = "Too many streams are open"


class IdempotencyKeyReused(ServiceError):
    """An Idempotency-Key came again with another body."""

    status = 422
    title = "The Idempotency-Key belongs to another request"


class JobAlreadyEnded(ServiceError):
    """The job has reached a final state, so nothing can be asked of its course any more."""

    status = 409
    title = "The job has already ended"


class JobBusy(ServiceError):
    """What is asked of the job has to wait until it has ended, or waits."""

    status = 409
    title = "The job is busy"


class JobNeeded(ServiceError):
    """Something that is still in use needs the job or what it left."""

    status = 409
    title = "The job is still needed"


class SpecUnreadable(ServiceError):
    """Another version of the service stored the job's spec."""

    status = 409
    title = "The job's spec cannot be read"


class ResultsNotReady(ServiceError):
    """Results exist only of a job that succeeded."""

    status = 409
    title = "The job has no results"


class TableNotReady(ServiceError):
    """A study writes its table at its end; other jobs have none."""

    status = 409
    title = "There is no such table"


class ChampionUnclear(ServiceError):
    """`champion` names no model, or more than one."""

    status = 409
    title = "The champion is not clear"


class DatasetNotFound(ServiceError):
    """No data set is registered under this name."""

    status = 404
    title = "No such data set"


class DatasetExists(ServiceError):
    """A data set is registered under this name already."""

    status = 409
    title = "The name is taken"


class DatasetInUse(ServiceError):
    """Jobs that have not ended use the data set, so its registration cannot be removed."""

    status = 409
    title = "The data set is in use"


class WebhookNotFound(ServiceError):
    """No webhook has this id."""

    status = 404
    title = "No such webhook"


class WebhookRefused(ServiceError):
    """The address is one that the service may not reach; `fields` names it."""

    status = 422
    title = "The webhook is not valid"


class TooManyWebhooks(ServiceError):
    """As many webhooks are registered as there may be."""

    status = 409
    title = "Too many webhooks"


class KeyNotFound(ServiceError):
    """No key has this id."""

    status = 404
    title = "No such key"


class LastAdminKey(ServiceError):
    """Without this key nobody could give out keys any more."""

    status = 409
    title = "The key is the last of its scope"


class QuotaExceeded(ServiceError):
    """The key has as much as it may have at once."""

    status = 429
    title = "The key's quota is used up"
    retry_after_s = 30


class PredictorRefused(ServiceError):
    """The predictor answered that it cannot use the request; the status is its own."""

    title = "The images cannot be used"

    def __init__(self, status: int, detail: str, fields: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(detail, fields)
        self.status = status  # type: ignore[misc]  # of this one answer, not of the class


class PredictorUnavailable(ServiceError):
    """The process that keeps models in memory is not there."""

    status = 503
    title = "The predictor does not answer"


class RegistryUnavailable(ServiceError):
    """MLflow does not answer, and the question cannot be answered without it."""

    status = 503
    title = "The model registry does not answer"


class DatabaseUnavailable(ServiceError):
    """The queue's database does not answer."""

    status = 503
    title = "The queue is not reachable"


class CheckpointsUnavailable(ServiceError):
    """The store that SDCN_CHECKPOINTS_URL names does not answer, or refuses."""

    status = 503
    title = "The store of checkpoints is not reachable"


class NotReady(ServiceError):
    """Something that the service cannot take jobs in without is down."""

    status = 503
    title = "The service is not ready"


class LeaseLost(ServiceError):
    """Another worker, or the rescue, has taken the job: kill the child, write nothing."""

    status = 409
    title = "The lease is lost"


class IllegalTransition(ServiceError):
    """A move that the transition table forbids; a defect, never a client's fault."""

    title = "The job cannot move to that state"
