"""Lines of a job's log as a person reads them."""

import json
import re

_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b."
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FIRST = ("timestamp", "level", "logger", "event")
_KNOWN = (*_FIRST, "job_id", "attempt")


def plain(line: str) -> str:
    r"""The line without what a terminal would obey: a log may hold what a file name, or a foreign library, says.

    >>> plain("a \x1b[31mred\x1b[0m word\x07")
    'a red word'
    """
    return _CONTROL.sub("", _TERMINAL.sub("", line))


def readable(line: str) -> str:
    """A line in JSON as time, level, name, words and fields; any other as it is, but plain.

    >>> readable('{"timestamp": "10:00:00Z", "level": "info", "logger": "w", "event": "job.claimed", "n": 2}')
    '10:00:00Z info w: job.claimed n=2'
    """
    try:
        fields = json.loads(line) if line.startswith("{") else None
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or "event" not in fields:
        return plain(line)
    head = " ".join(str(fields[name]) for name in ("timestamp", "level") if name in fields)
    logger = f" {fields['logger']}" if "logger" in fields else ""
    trace = fields.pop("exception", None)
    more = "".join(f" {name}={value}" for name, value in fields.items() if name not in _KNOWN)
    said = f"{head}{logger}: {fields['event']}{more}".lstrip(": ")
    lines = [said] if trace is None else [said, *str(trace).splitlines()]
    return "\n".join(map(plain, lines))
