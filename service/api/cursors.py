"""The opaque cursor of a page: a place in the list, written so that nobody is tempted to build one."""

import base64
import binascii
import re

from service.errors import InvalidRequest
from service.queue.records import Cursor

_PLAIN = re.compile(r"(\d{1,15})\.([0-9a-f]{1,32})")


def write_cursor(cursor: Cursor) -> str:
    """The cursor as text.

    >>> read_cursor(write_cursor(Cursor(1700000000000, "ab12")))
    Cursor(created_at_ms=1700000000000, job_id='ab12')
    """
    return base64.urlsafe_b64encode(f"{cursor.created_at_ms}.{cursor.job_id}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> Cursor:
    """The place a cursor names.

    Raises:
        InvalidRequest: it is none of ours.
    """
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
        found = _PLAIN.fullmatch(plain)
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise InvalidRequest("cursor is not one this service gave out; take next_cursor of a page, or leave it out")
    return Cursor(int(found[1]), found[2])
