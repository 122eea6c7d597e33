"""The process that keeps models in memory and predicts, as the API sees it: requests are passed on, answers back.

Nothing of an image is decoded in the API's process.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import httpx
import structlog

from service.errors import PredictorRefused, PredictorUnavailable

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
    said = _detail(answer)
    if answer.status_code in (401, 403):
        raise PredictorUnavailable(
            "the predictor does not know this service: SDCN_PREDICTOR_TOKEN must be the same for both"
        )
    if answer.is_client_error:
        raise PredictorRefused(answer.status_code, said)
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        raise PredictorUnavailable(said)
    log.error("predictor.failed", status=answer.status_code, detail=said)
    raise PredictorUnavailable("the predictor failed on this request; its log says more")


def _detail(answer: httpx.Response) -> str:
    """What the predictor says of its refusal, from a problem document or any JSON with a sentence."""
    try:
        said = answer.json()
        return str(said.get("detail") or said["error"])[:2000]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the predictor refuses the request (status {answer.status_code})"
