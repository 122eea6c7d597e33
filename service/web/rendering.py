"""From a template to a page. Everything is escaped, and a name that is missing is an error, not an empty place."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse
from starlette.types import Scope

from service.settings import ServiceSettings
from service.web import text

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters |= {
    "ago": text.ago,
    "duration": text.duration,
    "listed": text.listed,
    "number": text.number,
    "percent": text.percent,
    "remaining": text.remaining,
    "signed_percent": text.signed_percent,
    "size": text.size,
    "utc": text.utc,
    "words": text.words,
}


def render(template: str, settings: ServiceSettings, **context: Any) -> str:  # noqa: ANN401 - whatever it shows
    """The template with its context, the present time as `now`, and where the other tools are."""
    tools = {"MLflow": settings.tracking_url, "Ray": settings.ray_dashboard_url}
    return _PAGES.get_template(template).render(
        context | {"now": datetime.now(UTC), "tools": {name: url for name, url in tools.items() if url}}
    )


def signed_in(scope: Scope) -> str | None:
    """The name of the key with which the browser has signed in; None: it has not."""
    name: str | None = scope.get("state", {}).get("signed_in")
    return name


class Render(Protocol):
    def __call__(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:  # noqa: ANN401
        """An answer with the rendered template."""
        ...


async def _render(request: Request) -> Render:
    settings: ServiceSettings = request.app.state.settings

    def answer(template: str, status: int = 200, **context: Any) -> HTMLResponse:  # noqa: ANN401
        shown = {"signed_in": signed_in(request.scope), **context}
        return HTMLResponse(render(template, settings, **shown), status_code=status)

    return answer


RenderDep = Annotated[Render, Depends(_render)]
