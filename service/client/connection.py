"""Requests to one service, and its answers read: what is common to all methods of the client."""

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from service.client.errors import ApiProblem, ServerUnreachable, UnsendableRequest
from service.jobs.access import KeyList
from service.jobs.answers import DatasetList, JobList, ModelList, Problem

AnswerT = TypeVar("AnswerT", bound=BaseModel)
PageT = TypeVar("PageT", JobList, ModelList, DatasetList, KeyList)
Params = Mapping[str, str | list[str]]
"""after the `?`; a list is one parameter several times"""


class Connection:
    """A service at an address.

    Args:
        base_url: such as http://127.0.0.1:8000. This machine is never reached through the environment's proxy, which
            would look for the service on its own.
        key: an API key; None: the service is open.
        transport: something else than the network, for tests.

    Raises:
        httpx.InvalidURL: `base_url` is none.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        timeout_s: float = 40.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=timeout_s,
            transport=transport,
            trust_env=not _is_loopback(httpx.URL(self.base_url).host),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _call(
        self,
        model: type[AnswerT],
        method: str,
        path: str,
        *,
        json: object = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AnswerT:
        with self._understood(self._send(method, path, json=json, params=params, headers=headers)) as answer:
            return model.model_validate_json(answer.content)

    def _pages(self, model: type[PageT], path: str, params: Params) -> Iterator[PageT]:
        """The pages of a list, each fetched when it is asked for."""
        while True:
            page = self._call(model, "GET", path, params=params)
            yield page
            if page.next_cursor is None:
                return
            params = {**params, "cursor": page.next_cursor}

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401 - as httpx takes it
        try:
            prepared = self._http.build_request(method, path, **request)
        except (ValueError, httpx.InvalidURL) as error:
            raise UnsendableRequest(f"the request to {self.base_url} cannot be written: {error}") from error
        try:
            return self._http.send(prepared)
        except httpx.LocalProtocolError as error:  # a header that HTTP has no place for
            raise UnsendableRequest(f"the request to {self.base_url} cannot be written: {error}") from error
        except httpx.DecodingError as error:
            raise self._foreign("a body that is not encoded as its header says") from error
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> ServerUnreachable:
        reason = str(error) or type(error).__name__
        return ServerUnreachable(
            f"no service answers at {self.base_url} ({reason}): start one with `sdcn up`, or give --url"
        )

    def _foreign(self, found: str) -> ServerUnreachable:
        return ServerUnreachable(f"what answers at {self.base_url} is not this service: {found}; check --url")

    @contextmanager
    def _understood(self, response: httpx.Response) -> Iterator[httpx.Response]:
        """Within it the answer is read: a problem becomes ApiProblem, and of one that cannot be read it is said that it
        is not the service's.
        """
        try:
            if not response.is_success:
                problem = Problem.model_validate_json(response.content)
                raise ApiProblem(problem, retry_after_s=_retry_after_s(response))
            yield response
        except ValueError as error:  # pydantic's and JSON's
            raise self._foreign(f"status {response.status_code} without the document that belongs to it") from error

    @contextmanager
    def _streamed(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        silence_s: float | None = None,
    ) -> Iterator[httpx.Response]:
        """An answer whose body is read as it comes.

        `silence_s`: how long nothing may come before the connection counts as broken; None: the client's own timeout.
        """
        timeout = httpx.Timeout(self._timeout_s, read=silence_s or self._timeout_s)
        try:
            with self._http.stream("GET", path, params=params, headers=headers, timeout=timeout) as response:
                if not response.is_success:
                    response.read()
                with self._understood(response) as answer:
                    yield answer
        except httpx.InvalidURL as error:
            raise self._foreign(f"an address that is none ({error})") from error
        except httpx.DecodingError as error:
            raise self._foreign("a body that is not encoded as its header says") from error
        except httpx.TransportError as error:
            raise self._unreachable(error) from error


def segment(job_id: str) -> str:
    """The id as one segment of a path: what is not an id must not reach another endpoint."""
    return quote(job_id, safe="", errors="replace") or "-"


def segments(model_id: str) -> str:
    """An id of two parts, likewise; dots alone would climb."""
    return "/".join(
        "-" if part.strip(".") == "" else quote(part, safe="@", errors="replace") for part in model_id.split("/")
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _retry_after_s(response: httpx.Response) -> float | None:
    """When the service wants to be asked again; it says seconds, a date is none of its words."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else None
