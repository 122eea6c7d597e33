"""How much room is left where the service keeps everything."""

import shutil
from pathlib import Path


def free_bytes(path: Path) -> int | None:
    """Free on the disk that the folder lies on, or will once it is made; None: its file system does not say."""
    for folder in (path, *path.parents):
        try:
            return shutil.disk_usage(folder).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
