"""The process that keeps models in memory and predicts, as the API sees it: requests are passed on, answers back.

Nothing of an image is decoded in the API's process.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import httpx
import structlog
from pydantic import ValidationError

from service.errors import FieldProblem, PredictorRefused, PredictorUnavailable
from service.jobs.answers import Problem

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 3.0
WAY_OUT = "`sdcn up` keeps one running; elsewhere start `python -m workers.predictor` and set SDCN_PREDICTOR_URL"


@dataclass(frozen=True)
class Predictor:
    """The predictor at an address; None: there is none.

    `transport`: something else than the network, for tests.
    """

    url: str | None
    token: str | None
    timeout_s: float
    transport: httpx.AsyncBaseTransport | None = None

    async def predict(
        self,
        model_id: str,
        body: AsyncIterator[bytes],
        *,
        content_type: str,
        wishes: Mapping[str, str | int | float | bool] | None = None,
    ) -> bytes:
        """The predictor's answer, the JSON of a PredictionsRead, to a request with images.

        Args:
            model_id: of a model that is there.
            body: of the request, as it comes in.
            content_type: of the body.
            wishes: score_threshold, max_boxes, fast; those left out are as in a job of kind predict.

        Raises:
            PredictorUnavailable: none is configured, it does not answer, or it failed.
            PredictorRefused: it says that the request is wrong.
        """
        if self.url is None:
            raise PredictorUnavailable(f"this service has no predictor: {WAY_OUT}")
        headers = {"Content-Type": content_type}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        timeout = httpx.Timeout(self.timeout_s, connect=CONNECT_TIMEOUT_S)
        try:
            async with httpx.AsyncClient(
                base_url=self.url, timeout=timeout, transport=self.transport, trust_env=False
            ) as client:
                answer = await client.post(
                    "/predict", params={"model": model_id, **(wishes or {})}, content=body, headers=headers
                )
        except httpx.TimeoutException as error:
            raise PredictorUnavailable(
                f"the predictor has not answered within {self.timeout_s:.0f} s: send fewer images at once, or raise"
                " SDCN_PREDICTOR_TIMEOUT_S"
            ) from error
        except httpx.TransportError as error:
            raise PredictorUnavailable(f"the predictor does not answer ({type(error).__name__}): {WAY_OUT}") from error
        return _content(answer)


def _content(answer: httpx.Response) -> bytes:
    if answer.is_success:
        return answer.content
    refusal = _refusal(answer)
    if answer.status_code in (401, 403):
        raise PredictorUnavailable(
            "the predictor does not know this service: SDCN_PREDICTOR_TOKEN must be the same for both"
        )
    if answer.is_client_error:
        raise refusal
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        raise PredictorUnavailable(refusal.detail)
    log.error("predictor.failed", status=answer.status_code, detail=refusal.detail)
    raise PredictorUnavailable("the predictor failed on this request; its log says more")


def _refusal(answer: httpx.Response) -> PredictorRefused:
    """What the predictor says in its problem document, with the images at fault."""
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        return PredictorRefused(answer.status_code, f"the predictor refuses the request (status {answer.status_code})")
    fields = tuple(FieldProblem(error.field, error.message) for error in problem.errors)
    return PredictorRefused(answer.status_code, problem.detail, fields)
