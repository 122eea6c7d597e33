"""`python -m service.embedded.guard <embedded id> <Ray's folder>`: ends the service when its keeper is gone.

Its standard input is a pipe whose other end only the keeper holds. However the keeper ends, even by SIGKILL, the kernel
closes the pipe; the guard then sweeps up. It leads a session of its own and ignores Ctrl-C, so that it ends last.
"""

import signal
import sys

from service.embedded.sweep import remove_ray_folder, sweep


def main() -> None:
    embedded_id, ray_folder = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    sweep(embedded_id)
    remove_ray_folder(ray_folder)


if __name__ == "__main__":
    main()
