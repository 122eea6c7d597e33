"""`python -m service.keys create NAME --scope admin`: keys by way of the database itself, where nobody has one yet.

It takes SDCN_HOME and SDCN_DATABASE_URL as the API does. The key alone goes to standard output, all else to standard
error. Exit codes: 0 done; 1 the database cannot be used; 2 the command line or the settings are wrong.
"""

import argparse
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from service.errors import DatabaseUnavailable, ServiceError
from service.jobs.access import DAY_S, KeySpec, Scope
from service.jobs.refusals import field_problems
from service.logging import set_up_logging
from service.queue.database import open_database
from service.queue.key_records import ApiKey
from service.queue.keys import KeyRegister
from service.queue.migrations import upgrade
from service.settings import ServiceSettings, read_settings

PAGE = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    asked = _parser().parse_args(arguments)
    set_up_logging()
    settings = read_settings(ServiceSettings)
    if settings is None:
        return 2
    try:
        upgrade(settings.queue_url)
        engine = open_database(settings.queue_url)
        try:
            asked.command(KeyRegister(engine), asked)
        finally:
            engine.dispose()
    except ValidationError as error:
        for problem in field_problems(error.errors()):
            _complain(f"{problem.field}: {problem.message}")
        return 2
    except ServiceError as error:
        _complain(str(error))
        return 1 if isinstance(error, DatabaseUnavailable) else 2
    return 0


def _create(keys: KeyRegister, asked: argparse.Namespace) -> None:
    spec = KeySpec(
        name=asked.name,
        scope=asked.scope,
        valid_s=None if asked.days is None else asked.days * DAY_S,
        max_queued_jobs=asked.max_queued,
        max_running_gpus=asked.max_gpus,
        requests_per_s=asked.max_rate,
    )
    made, token = keys.create(spec)
    _complain(f"key {made.key_id} of scope {made.scope} for {made.name}; it is not shown again:")
    sys.stdout.write(f"{token.text}\n")


def _list(keys: KeyRegister, _asked: argparse.Namespace) -> None:
    page = keys.page(limit=PAGE)
    while True:
        for key in page.keys:
            sys.stdout.write(f"{key.key_id}  {key.scope:<6}  {key.name}{_end(key)}\n")
        if page.following is None:
            return
        page = keys.page(limit=PAGE, after=page.following)


def _revoke(keys: KeyRegister, asked: argparse.Namespace) -> None:
    keys.revoke(asked.id)
    _complain(f"key {asked.id} lets nobody in any more")


def _end(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"  revoked {key.revoked_at:%Y-%m-%d}"
    return "" if key.expires_at is None else f"  until {key.expires_at:%Y-%m-%d}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.keys", description="Keys of the service, in its database.")
    commands = parser.add_subparsers(required=True)
    create = commands.add_parser("create", help="make a key and print it, this once")
    create.add_argument("name", help="whose, or what for")
    create.add_argument("--scope", type=Scope, choices=list(Scope), default=Scope.READ, help="what it may do")
    create.add_argument("--days", type=int, help="how long it is good; else for ever")
    create.add_argument("--max-queued", type=int, help="jobs that may wait at once; else any number")
    create.add_argument("--max-gpus", type=int, help="GPUs that its jobs may hold at once")
    create.add_argument("--max-rate", type=float, help="requests a second")
    create.set_defaults(command=_create)
    commands.add_parser("list", help="all keys, without their secrets").set_defaults(command=_list)
    revoke = commands.add_parser("revoke", help="let nobody in with a key any more")
    revoke.add_argument("id", help="the second part of the key")
    revoke.set_defaults(command=_revoke)
    return parser


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
