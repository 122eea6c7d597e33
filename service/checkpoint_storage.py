"""Where checkpoints lie: beside the other files of their training, or below a URL that fsspec opens.

They are the largest files of a training, and all that Ray Train itself writes. Everything else stays in the home
folder (docs/decisions/0014).
"""

import errno
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from service.errors import CheckpointsUnavailable

if TYPE_CHECKING:  # a tenth of a second, for those alone who have a store
    from upath import UPath

Place: TypeAlias = "Path | UPath"
"""a folder or file: a Path is on this machine's disks, whatever else a UPath says"""

ON_DISK = (None, "file", "local")
"""protocols of folders; None: of a path"""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""this machine's disk, where a copy is written: nothing that a store says"""

NOT_SHARED = {"memory": "each process would have its own", "http": "it is read only", "https": "it is read only"}
"""protocol -> why no checkpoint can be kept there"""


@dataclass(frozen=True)
class CheckpointStorage:
    """The place of each training's checkpoints."""

    runs: Path
    """the folder of all jobs"""
    url: str | None = None
    """of the folder that has one for each job, laid out like `runs`; None: `runs` itself"""

    @property
    def root(self) -> Place:
        return self.runs if self.url is None else opened(self.url)

    def of(self, training: Path) -> Place:
        """The folder in which a training keeps its checkpoints, or has a folder `checkpoints` that does.

        Args:
            training: the folder of its other files, below `runs`.
        """
        if self.url is None:
            return training
        return opened(self.url) / training.resolve().relative_to(self.runs.resolve()).as_posix()

    def ask(self) -> None:
        """See that the store answers; without a URL there is none to ask.

        Raises:
            CheckpointsUnavailable: it does not.
        """
        if self.url is None:
            return
        root = self.root
        with suppress(FileNotFoundError), asked(root):  # the first checkpoint makes the folder
            next(iter(root.iterdir()), None)


def opened(url: str) -> Place:
    """The folder of a URL, or of an absolute path."""
    from fsspec.core import split_protocol
    from upath import UPath

    protocol, path = split_protocol(url)
    if protocol in ON_DISK:
        return Path(path)
    # Listings that a process remembers would hide what others write.
    return UPath(url, use_listings_cache=False)


def check_url(url: str) -> None:
    """See that checkpoints could be kept there, as far as the URL says; nothing is asked over a network.

    Raises:
        ValueError: they could not; the message is the way out.
    """
    from fsspec import get_filesystem_class
    from fsspec.utils import get_protocol

    protocol = get_protocol(url)
    if protocol in ON_DISK:
        if not url.startswith(("/", f"{protocol}:///")):
            raise ValueError(f"{url!r} is neither a URL, like s3://bucket/folder, nor an absolute path")
        return
    if protocol in NOT_SHARED:
        raise ValueError(f"{protocol}: cannot keep checkpoints: {NOT_SHARED[protocol]}")
    if re.match(r"[^/@]*:[^/@]*@", url.split("://", 1)[1]):
        raise ValueError("the URL holds a password or a key: leave it out, and set it as the store's own programs do")
    try:
        get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:  # fsspec says which package to install, or that there is none
        raise ValueError(str(error)) from None


@contextmanager
def asked(place: Place) -> Iterator[None]:
    """Around what is done with a place.

    Raises:
        FileNotFoundError: something is not there.
        CheckpointsUnavailable: its store does not answer, or refuses; each has errors of its own for that.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        if isinstance(place, Path) or (isinstance(error, OSError) and error.errno in DISK_FULL):
            raise
        if isinstance(error, NotADirectoryError):  # to list what is not there: a store knows no empty folder
            raise FileNotFoundError(str(place)) from error
        raise CheckpointsUnavailable(
            f"the store of checkpoints does not answer, or refuses ({type(error).__name__}): see that it is up, and"
            " that SDCN_CHECKPOINTS_URL and what lets one in are right for API, workers and Ray's nodes"
        ) from error


def named_so(folder: Place, prefix: str) -> list[Place]:
    """What lies in a folder under names that begin so; nothing in one that is not there.

    Raises:
        CheckpointsUnavailable: its store does not answer. A pattern would find nothing then, as if all were lost.
    """
    if isinstance(folder, Path):
        return list(folder.glob(f"{prefix}*"))
    with suppress(FileNotFoundError), asked(folder):
        names = [path.rstrip("/").rpartition("/")[2] for path in folder.fs.ls(folder.path, detail=False)]
        return [folder / name for name in names if name.startswith(prefix)]
    return []


def remove(place: Place) -> None:
    """Remove a folder with all that is in it; one that is not there is none to remove.

    Raises:
        CheckpointsUnavailable, OSError: it cannot be removed now.
    """
    try:
        with asked(place):
            if isinstance(place, Path):
                shutil.rmtree(place)
            else:
                place.fs.rm(place.path, recursive=True)
    except FileNotFoundError:
        return


def move_in(folder: Path, place: Place) -> None:
    """Move a folder of files, without folders in it, from this machine to a place.

    On disks it is there whole or not at all. In a store each file is.

    Raises:
        CheckpointsUnavailable, OSError: it cannot be written there.
    """
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        _rename(folder, place)
        return
    for file in sorted(folder.iterdir()):
        with asked(place):
            place.fs.put_file(str(file), (place / file.name).path)
    shutil.rmtree(folder)


def _rename(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(f".{target.name}.partial")  # another disk: a name that nobody takes for a checkpoint
        shutil.copytree(folder, partial)
        partial.rename(target)
        shutil.rmtree(folder)


@contextmanager
def here(place: Place, *, scratch: Path | None = None) -> Iterator[Path]:
    """The folder on this machine's disks, until the end of the block: itself, or a copy of its files.

    Args:
        place: a folder of files, without folders in it.
        scratch: where the copy shall lie; None: among the system's temporary files.

    Raises:
        FileNotFoundError: it is not there.
        CheckpointsUnavailable: its store does not answer.
    """
    if isinstance(place, Path):
        yield place
        return
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        copy = Path(folder) / place.name
        copy.mkdir()
        with asked(place):
            for file in place.iterdir():
                place.fs.get_file(file.path, str(copy / file.name))
        yield copy


def replace_file(file: Place, content: bytes) -> None:
    """Write a file so that readers see all of it, or what was there before."""
    if isinstance(file, Path):
        partial = file.with_name(f".{file.name}.partial")
        partial.write_bytes(content)
        partial.replace(file)
    else:
        file.write_bytes(content)  # stores keep an object when its last byte has come
