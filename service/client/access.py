"""Giving out keys, and seeing who did what."""

from collections.abc import Iterator

from service.client.connection import Connection, segment
from service.jobs.access import AuditList, AuditRead, KeyCreated, KeyList, KeyRead, KeySpec


class Access(Connection):
    """The part of the client that is about keys; all of it needs one of scope admin."""

    def keys(self, *, page_size: int = 50) -> Iterator[KeyRead]:
        """All keys, oldest first, without their secrets; pages are fetched as they are needed."""
        for page in self._pages(KeyList, "/v1/keys", {"limit": str(page_size)}):
            yield from page.keys

    def create_key(self, spec: KeySpec) -> KeyCreated:
        """Make a key; the answer has it, which is never shown again."""
        return self._call(KeyCreated, "POST", "/v1/keys", json=spec.model_dump(mode="json", exclude_unset=True))

    def revoke_key(self, key_id: str) -> None:
        """Let nobody in with it any more."""
        with self._understood(self._send("DELETE", f"/v1/keys/{segment(key_id)}")):
            pass

    def audit(self, *, subject: str | None = None, page_size: int = 50) -> Iterator[AuditRead]:
        """What clients did, newest first, to one job, data set, webhook or key, or to all; pages are fetched as they
        are needed.
        """
        params: dict[str, str | list[str]] = {"limit": str(page_size)}
        if subject is not None:
            params["subject"] = subject
        while True:
            page = self._call(AuditList, "GET", "/v1/audit", params=params)
            yield from page.entries
            if page.next_before is None:
                return
            params["before"] = str(page.next_before)
