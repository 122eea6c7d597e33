"""Range requests, RFC 9110 section 14: one part of a file, so that a download that broke can go on."""

import re
from dataclasses import dataclass

from starlette.exceptions import HTTPException

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class Part:
    """Bytes `first` to `last`, both of them included."""

    first: int
    last: int

    @property
    def num_bytes(self) -> int:
        return self.last - self.first + 1


def wanted_part(given: str | None, if_range: str | None, *, tag: str, num_bytes: int) -> Part | None:
    """The part that a request asks for; None: the whole file, also where several parts or another unit are asked for.

    Args:
        given: the Range header.
        if_range: the If-Range header: the ETag for which the range was meant.
        tag: the file's ETag, a strong one.
        num_bytes: of the file.

    Raises:
        HTTPException: 416, the range begins behind the file's end.

    >>> wanted_part("bytes=-4", None, tag='"a"', num_bytes=10)
    Part(first=6, last=9)
    """
    found = None if given is None else _ONE_RANGE.fullmatch(given.strip())
    if found is None or found[1] == found[2] == "" or (if_range is not None and if_range.strip() != tag):
        return None
    if found[1] == "":
        first, last = max(0, num_bytes - int(found[2])), num_bytes - 1
    else:
        first = int(found[1])
        last = min(num_bytes - 1, int(found[2])) if found[2] else num_bytes - 1
        if found[2] and int(found[2]) < first:
            return None  # no range at all, so it is as if it had not been said
    if first >= num_bytes:
        raise HTTPException(
            416, f"the file has {num_bytes} bytes: there is none at {first}", {"Content-Range": f"bytes */{num_bytes}"}
        )
    return Part(first, last)
