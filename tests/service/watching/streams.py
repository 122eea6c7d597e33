"""Streams as any client of server-sent events reads them, without ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

Event = dict[str, str]


@contextmanager
def opened(url: str, last_event_id: str | None = None) -> Iterator[Iterator[Event]]:
    headers = {"Accept": "text/event-stream"} | ({} if last_event_id is None else {"Last-Event-ID": last_event_id})
    with httpx.stream("GET", url, headers=headers, timeout=10) as answer:
        assert answer.status_code == 200, answer.read()
        yield _events(answer.iter_text())


def read_all(url: str, last_event_id: str | None = None) -> list[Event]:
    with opened(url, last_event_id) as events:
        return list(events)


def told(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event.get("event") == kind]


def _events(texts: Iterator[str]) -> Iterator[Event]:
    begun = ""
    for text in texts:
        *blocks, begun = (begun + text).split("\n\n")
        for block in blocks:
            event: Event = {}
            for line in block.split("\n"):
                name, _, value = line.partition(": ")
                event[name] = f"{event[name]}\n{value}" if name == "data" and "data" in event else value
            if "event" in event:
                yield event
