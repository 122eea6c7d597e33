"""Kill parts of a real service at random moments, and see whether it keeps its promises.

    python -m tests.chaos [--rounds 100] [--seed 0] [--only api worker ...] [--home FOLDER]

It starts a service of its own in a home of its own, on free ports, with PostgreSQL, and clients that keep tiny
trainings in the queue, pausing and cancelling some. Each round kills one part with SIGKILL: the API, the worker, the
child process of an attempt, Ray's head, PostgreSQL, MLflow. The service's own guard starts its parts again; PostgreSQL,
which it does not guard, is started here. In the end every job that was acknowledged must have ended once, no attempt
have lost more than a checkpoint's interval, and nothing be left: no process, no CPU taken, no open run in MLflow.

It prints a line a round and a table; exit status 1 says that a promise was broken, and which. Its folder is kept then.
"""

import argparse
import logging
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from service.client.up import interruptible
from service.logging import set_up_logging
from tests.chaos.rounds import WEIGHTS
from tests.chaos.run import run_chaos
from tests.chaos.subject import Victim

NAMES = [victim.name.lower() for victim in Victim]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of victims, moments and clients")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="whom to kill")
    parser.add_argument("--home", type=Path, help="an empty folder, which is kept; else one that goes when all is well")
    given = parser.parse_args()
    home: Path = (given.home or Path(tempfile.mkdtemp(prefix="sdcn-chaos-"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    weights = {victim: weight for victim, weight in WEIGHTS.items() if victim.name.lower() in given.only}
    say = partial(print, flush=True)
    try:
        with (home / "chaos.log").open("w") as log, interruptible():
            set_up_logging(stream=log)
            verdict = run_chaos(home, rounds=given.rounds, seed=given.seed, weights=weights, say=say)
    except KeyboardInterrupt:
        say(f"interrupted; logs and files: {home}")
        return 130
    finally:
        set_up_logging(level=logging.WARNING)  # the server of PostgreSQL says something still when Python ends
    print(f"\n{verdict.table}\n")
    if verdict.broken:
        print("\n".join(["broken:", *verdict.broken, f"logs and files: {home}"]))
        return 1
    print("every promise was kept")
    if given.home is None:
        shutil.rmtree(home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
