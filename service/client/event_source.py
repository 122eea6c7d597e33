"""Reading server-sent events as this service writes them: lines that end with a line feed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    event: str
    data: str
    event_id: str | None
    """None: it has none, and does not change where a stream is taken up again"""


def messages(blocks: Iterable[bytes]) -> Iterator[Message]:
    r"""The events of a stream; what is cut off at its end is none.

    >>> list(messages([b": ping\n\nevent: log\ndata: a\nda", b"ta: b\nid: 1.4\n\nevent: end\n"]))
    [Message(event='log', data='a\nb', event_id='1.4')]
    """
    event, event_id, data = "message", None, list[str]()
    for line in _lines(blocks):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                event = value
            case "data":
                data.append(value)
            case "id":
                event_id = value
            case "" if line == "":
                if data:
                    yield Message(event, "\n".join(data), event_id)
                event, event_id, data = "message", None, []


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    begun = bytearray()
    for block in blocks:
        begun += block
        *lines, rest = begun.split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        begun = bytearray(rest)
