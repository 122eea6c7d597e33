"""`python -m deploy.rehearsal`: start what docker-compose.yml says as plain processes, work with it, lose a node.

Exit codes: 0 all came out as it must; 1 something did not, and the logs are kept; 130 interrupted.
"""

import argparse
import logging
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mlflow import MlflowClient

from deploy.rehearsal.composed import read_composed
from deploy.rehearsal.containers import Containers, RehearsalFailed, Say
from deploy.rehearsal.network import Namespaces, open_network
from deploy.rehearsal.published import published
from deploy.rehearsal.stand_in import postgres_stand_in
from deploy.rehearsal.story import refuse_strangers, rehearse
from service.client.client import SdcnClient

NODES = 2
FIRST_KEY = ("python", "-m", "service.keys", "create", "rehearsal", "--scope", "admin")
"""as docs/deploying.md has the operator do, before the API starts"""
SECRETS = ("sdcn_database_password", "sdcn_predictor_token", "sdcn_ray_token")


def main() -> int:
    options = parse_options()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    folder = Path(tempfile.mkdtemp(prefix="sdcn-rehearsal-"))
    folder.chmod(0o711)  # the database's user passes through
    try:
        _rehearse_in(folder, say, on_loopback=options.loopback)
    except RehearsalFailed as failure:
        print(f"failed: {failure}\nall logs: {folder / 'logs'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.keep:
        say(f"kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    say("the rehearsal went as it must")
    return 0


def _rehearse_in(folder: Path, say: Say, *, on_loopback: bool) -> None:
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    for name in SECRETS:
        (keys / name).write_text(secrets.token_hex(32))
    services = read_composed(variables={"SDCN_WORKERS": str(NODES)})
    with ExitStack() as stack:
        network = open_network(folder, on_loopback=on_loopback)
        stack.callback(network.close)
        kind = "network namespaces" if isinstance(network, Namespaces) else "addresses of loopback"
        say(f"{len(services)} services of docker-compose.yml, {NODES} workers, in {kind}")
        containers = Containers(services, network, folder, keys)
        containers.replace(postgres_stand_in(services["postgres"], network.address("postgres")))
        stack.callback(_ended, containers, say)
        key = containers.run("api", *FIRST_KEY, say=say).strip()
        containers.start_all(say)
        api, mlflow = (
            stack.enter_context(published(network.address(name), services[name].publishes[0]))
            for name in ("api", "mlflow")
        )
        refuse_strangers(f"http://{api}")
        client = stack.enter_context(SdcnClient(f"http://{api}", key=key))
        rehearse(containers, client, MlflowClient(f"http://{mlflow}"), say)


def _ended(containers: Containers, say: Say) -> None:
    containers.stop_all(say)
    if left := containers.left():
        raise RehearsalFailed(f"processes are left though their containers have ended: {left}")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed; None: the process's own arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loopback", action="store_true", help="make no network namespaces, also as root")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs, queue and runs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
