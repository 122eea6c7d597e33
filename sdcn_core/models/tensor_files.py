"""Tensors written to a file, whose failure is told as the disk's."""

import os
from pathlib import Path
from typing import Any

import torch


def save_durably(content: Any, path: Path) -> None:  # noqa: ANN401 - whatever torch.load reads again
    """Write the file as torch.load reads it; once this returns it is on the disk, also after a power cut.

    Raises:
        OSError: the disk is full or failed; what was written until then is left. It names the file.
    """
    try:
        with path.open("wb") as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:  # torch says where it was, and covers what the file said
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
