"""What runs in place of an image that is not built here: PostgreSQL's."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.rehearsal.composed import ROOT, Service
from deploy.rehearsal.postgres import PROGRAMS

INIT = "/docker-entrypoint-initdb.d/"
DATA = "/var/lib/postgresql"


@dataclass(frozen=True)
class StandIn:
    """A command in place of an image's."""

    service: str
    command: tuple[str, ...]
    programs: Path
    """the folder of what the image would have on its PATH"""
    environment: Mapping[str, str]
    """besides what the file says"""


def postgres_stand_in(service: Service, address: str) -> StandIn:
    """The server that listens on `address`, with the scripts that the file mounts for its first start."""
    scripts = [str(ROOT / source) for target, source in service.volumes.items() if target.startswith(INIT)]
    command = (sys.executable, "-m", "deploy.rehearsal.postgres", DATA, address, *scripts)
    return StandIn(service.name, command, PROGRAMS, {"PGHOST": address})
