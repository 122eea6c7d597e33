"""Keys: given out, listed without their secrets, revoked."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from service.api.dependencies import NO_PARAMETERS, KeyRingDep, KeysDep, Parameters
from service.api.documentation import problems
from service.api.same_site import SAME_SITE
from service.api.strict_json import StrictJsonRoute
from service.errors import KeyNotFound
from service.jobs.access import KeyCreated, KeyList, KeyRead, KeySpec
from service.queue.key_records import ApiKey
from service.queue.keys import UNKNOWN_KEY

router = APIRouter(prefix="/v1/keys", tags=["access"], route_class=StrictJsonRoute)

_ID = re.compile(r"[0-9a-f]{12}")


class ListParameters(Parameters):
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, pattern=r"^[0-9a-f]{12}$")
    """next_cursor of the page before"""


async def _key_id(key_id: Annotated[str, Path(max_length=64)]) -> str:
    if _ID.fullmatch(key_id) is None:
        raise KeyNotFound(UNKNOWN_KEY)
    return key_id


@router.post(
    "",
    status_code=201,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(_400="the body is no JSON", _413="the body is too large", _422="the key is not valid"),
)
def create_key(spec: KeySpec, keys: KeysDep, response: Response) -> KeyCreated:
    """Make a key. The answer has it, this once: the service keeps only a digest."""
    made, token = keys.create(spec)
    response.headers["Location"] = f"/v1/keys/{made.key_id}"
    return KeyCreated(**dict(describe_key(made)), key=token.text)


@router.get("", responses=problems(_400="the cursor is none of ours", _422="a parameter is not valid"))
def list_keys(parameters: Annotated[ListParameters, Query()], keys: KeysDep) -> KeyList:
    """All keys without their secrets, oldest first, also those that were revoked or have expired."""
    page = keys.page(limit=parameters.limit, after=parameters.cursor)
    return KeyList(keys=tuple(map(describe_key, page.keys)), next_cursor=page.following)


@router.delete(
    "/{key_id}",
    status_code=204,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(_404="no such key", _409="it is the last of scope admin"),
)
def revoke_key(key_id: Annotated[str, Depends(_key_id)], keys: KeysDep, ring: KeyRingDep) -> None:
    """Let nobody in with this key any more; at once through this process, within seconds through others. Asking again
    changes nothing.
    """
    keys.revoke(key_id)
    ring.forget()


def describe_key(key: ApiKey) -> KeyRead:
    return KeyRead(
        id=key.key_id,
        name=key.name,
        scope=key.scope,
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        max_queued_jobs=key.max_queued_jobs,
        max_running_gpus=key.max_running_gpus,
        requests_per_s=key.requests_per_s,
    )
