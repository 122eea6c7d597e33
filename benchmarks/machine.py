"""The machine that a benchmark ran on, in a sentence for its table."""

import os
import platform
from pathlib import Path

import psutil


def machine() -> str:
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores ({_cpu()}), {memory_gib:.0f} GiB, no GPU used, Python {platform.python_version()}"


def _cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
