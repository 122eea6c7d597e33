"""Reading JSON as RFC 8259 has it: no NaN, no name twice, no nesting that could exhaust the stack."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

MAX_DEPTH = 64
"""A spec is seven deep."""
MAX_DIGITS = 30


class StrictJsonRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401 - any JSON value
        """The body's value.

        Raises:
            HTTPException: 400 with the reason, when the body is not strict JSON.
        """
        if not hasattr(self, "_json"):
            self._json = read_strictly(await self.body())
        return self._json


class StrictJsonRoute(APIRoute):
    """A route whose body is read by StrictJsonRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(StrictJsonRequest(request.scope, request.receive))

        return handle_strictly


def read_strictly(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse UTF-8 JSON.

    Raises:
        HTTPException: 400 with the reason, when the body is not strict JSON.
    """
    try:
        value = json.loads(
            body.decode("utf-8"), parse_constant=_no_constant, parse_int=_short_int, object_pairs_hook=_no_twin
        )
    except RecursionError:
        raise _refusal("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise _refusal("it is not UTF-8") from None
    except ValueError as error:  # JSONDecodeError is one
        raise _refusal(str(error)) from None
    if _deeper_than(value, MAX_DEPTH):
        raise _refusal(f"it is nested more than {MAX_DEPTH} deep")
    return value


def _refusal(reason: str) -> HTTPException:
    return HTTPException(400, f"the body cannot be read as JSON: {reason}")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number; leave the field out, or give a finite number")


def _short_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits; {MAX_DIGITS} are read")
    return int(digits)


def _no_twin(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twin!r} stands twice in one object")
    return value


def _deeper_than(value: Any, depth: int) -> bool:  # noqa: ANN401 - any JSON value
    level = [value]
    for _ in range(depth):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True
