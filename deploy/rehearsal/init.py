"""`python init.py COMMAND...`: process 1 of a container, as `init: true` has it. It hands on the signals that end the
command, reaps what others leave behind, and ends as the command does; the kernel then ends everything else.
"""

import os
import signal
import subprocess
import sys


def main(command: list[str]) -> int:
    """The command's exit code, 128 and the signal's number if that ended it."""
    child = subprocess.Popen(command)
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda number, _frame: child.send_signal(number))
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
