"""Which scope a request needs: the one place that says so, for every path there is and is not."""

from typing import Final

from service.jobs.access import Scope

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS: Final = frozenset({"/healthz", "/sign-in"})
"""asked by who has no key yet: probes, and people"""
OPEN_FOLDER: Final = "/static/"
"""what the page to sign in looks like; it is in the source for everyone to read"""
ADMIN: Final = ("/v1/keys", "/v1/audit")
ADMIN_CHANGES: Final = ("/v1/webhooks",)
"""a webhook tells of everybody's jobs to an address outside"""
ANY_KEY: Final = "/sign-out"


def wanted_scope(method: str, path: str) -> Scope | None:
    """The scope that lets a request through; None: it needs no key.

    What is said nowhere needs a key: one that may read in order to look, one that may submit for all else.

    >>> wanted_scope("GET", "/healthz"), wanted_scope("GET", "/v1/new"), wanted_scope("POST", "/v1/new")
    (None, <Scope.READ: 'read'>, <Scope.SUBMIT: 'submit'>)
    """
    if path in OPEN_PATHS or path.startswith(OPEN_FOLDER):
        return None
    is_change = method not in SAFE_METHODS
    if _below(path, ADMIN) or (is_change and _below(path, ADMIN_CHANGES)):
        return Scope.ADMIN
    return Scope.SUBMIT if is_change and path != ANY_KEY else Scope.READ


def _below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)
