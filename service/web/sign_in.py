"""How a browser comes in: a key is shown once, and a cookie that pages cannot read takes its place."""

import re
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from service.api.dependencies import NO_PARAMETERS, KeyRingDep, KeysDep, Parameters, SettingsDep
from service.api.gate import COOKIE, session_ticket
from service.api.same_site import SAME_SITE
from service.queue.keys import SESSION_MS
from service.tokens import Token
from service.web.rendering import RenderDep

router = APIRouter(include_in_schema=False)

_HERE = re.compile(r"/(?![/\\])[\x21-\x7e]{0,500}")
"""a path of this service: what begins with two slashes is another host"""


class SignInParameters(Parameters):
    next: str = Field(default="/", max_length=500)
    """where to go then"""


class SignInForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(default="", max_length=200, repr=False)
    next: str = Field(default="/", max_length=500)


@router.get("/sign-in")
def show_form(parameters: Annotated[SignInParameters, Query()], settings: SettingsDep, render: RenderDep) -> Response:
    if settings.is_open:
        return RedirectResponse("/", status_code=303)
    return render("sign_in.html", next=_path_here(parameters.next), wrong=False)


@router.post("/sign-in", dependencies=[NO_PARAMETERS, SAME_SITE])
def sign_in(form: Annotated[SignInForm, Form()], request: Request, keys: KeysDep, render: RenderDep) -> Response:
    """Open a session, or show the form again."""
    token = Token.parse(form.key.strip())
    ticket = None if token is None else keys.open_session(token)
    if ticket is None:
        return render("sign_in.html", 401, next=_path_here(form.next), wrong=True)
    answer = RedirectResponse(_path_here(form.next), status_code=303)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, ticket.text, max_age=SESSION_MS // 1000, httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/sign-out", dependencies=[NO_PARAMETERS, SAME_SITE])
def sign_out(request: Request, keys: KeysDep, ring: KeyRingDep) -> Response:
    """End the session, here and in the database."""
    if (ticket := session_ticket(request.headers)) is not None:
        keys.close_session(ticket)
        ring.forget()
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


def _path_here(path: str) -> str:
    return path if _HERE.fullmatch(path) else "/"
