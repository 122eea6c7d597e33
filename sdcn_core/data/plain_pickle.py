"""Pickles from outside that hold plain values and NumPy arrays, read without importing or calling anything they name.

A pickle is a program: it names functions and calls them. The reader knows the few names by which NumPy writes arrays
and puts functions of its own in their place; every other name is refused.
"""

import mmap
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from struct import unpack
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sdcn_core.errors import DatasetError

_PLAIN_TYPE = re.compile(r"[biufSU][0-9]{1,5}")
"""bool, integers, floats, bytes and text: an array of these holds no objects"""
_MOST_DIMENSIONS = 8


def read_plain_pickle(path: Path, *, max_bytes: int) -> Any:  # noqa: ANN401 - whatever was pickled
    """The value: lists, tuples, dicts, text, bytes and numbers; of arrays stand-ins, see `array_of`. Text of Python 2
    is read as Latin-1. Sets, and keys of dicts that are neither text nor numbers, are refused.

    Raises:
        DatasetError: the file is missing, larger than `max_bytes`, broken, or names anything else than NumPy's arrays;
            the message names the file and what it names.
    """
    try:
        with path.open("rb") as file:
            if (size := path.stat().st_size) > max_bytes:
                raise DatasetError(f"file {path} has {size >> 20} MiB, more than {max_bytes >> 20}: split it")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Reader(content).load()
    except OSError as error:
        raise DatasetError(f"file {path} cannot be read ({error.strerror}): put it there") from error
    except _Refused as error:
        raise DatasetError(
            f"file {path} names {error}, which might run code when it is read, so it is not read: write it again with"
            " lists, dicts, text, numbers and NumPy arrays alone"
        ) from error
    except DatasetError:
        raise
    except Exception as error:  # whatever a broken pickle stumbles over
        raise DatasetError(
            f"file {path} is no pickle of plain values ({type(error).__name__}: {error}): write it again"
        ) from error


def array_of(value: object) -> Any:  # noqa: ANN401 - as said
    """An array for what stands for one, a list for an array of objects; anything else as it is."""
    return value.content if isinstance(value, _Array) else value


class _Refused(Exception):
    """The pickle names something that is none of NumPy's arrays."""


class _Type:
    """Stands for numpy.dtype."""

    def __init__(self, name: object, *_: object) -> None:
        if not isinstance(name, str) or (name != "O8" and not _PLAIN_TYPE.fullmatch(name)):
            raise ValueError(f"an array of type {str(name)[:50]!r}")
        self.dtype = np.dtype("O" if name == "O8" else name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """Stands for a numpy.ndarray."""

    def __init__(self, content: object = None) -> None:
        self.content = content

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, content = state
        self.content = _content(content, kind, shape, "F" if is_fortran else "C")


def _content(content: object, kind: object, shape: object, order: object) -> Any:  # noqa: ANN401 - array or list
    if not isinstance(kind, _Type) or not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError("an array without type or shape")
    if kind.dtype.hasobject:
        if not isinstance(content, list) or shape != (len(content),):
            raise ValueError("an array of objects that is no list of them")
        return content
    raw = content.encode("latin1") if isinstance(content, str) else content
    if not isinstance(raw, bytes | bytearray):
        raise ValueError("an array without content")
    flat: NDArray[Any] = np.frombuffer(raw, kind.dtype) if raw else np.zeros(0, kind.dtype)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(content: object, kind: object, shape: object, order: object = "C", axes: object = None) -> _Array:
    if axes is not None:
        raise ValueError("an array with its axes in disorder")
    return _Array(_content(content, kind, shape, order))


def _scalar(kind: object, content: object) -> Any:  # noqa: ANN401 - a number or a text
    return _content(content, kind, (), "C").item()


def _encoded(text: object, encoding: object) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes that are no Latin-1")
    return text.encode("latin1")


class _Allowed:
    """One of NumPy's names: it can be called, and a pickle can do nothing else with it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> Any:  # noqa: ANN401
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise ValueError("a pickle that alters what it names")


_ALLOWED = {
    ("numpy", "dtype"): _Allowed(_Type),
    ("numpy", "ndarray"): _Allowed(_reconstruct),
    ("_codecs", "encode"): _Allowed(_encoded),
} | {
    (f"{core}.{module}", name): _Allowed(make)
    for core in ("numpy.core", "numpy._core")
    for module, name, make in (
        ("multiarray", "_reconstruct", _reconstruct),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", _from_buffer),
    )
}


_UnpicklerInPython: Any = pickle._Unpickler  # its types in typeshed are those of the one in C
"""That one can be made to claim any amount of memory by a few bytes."""


class _Reader(_UnpicklerInPython):
    dispatch: ClassVar[dict[int, Any]] = dict(_UnpicklerInPython.dispatch)

    def __init__(self, content: mmap.mmap) -> None:
        super().__init__(content, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if (found := _ALLOWED.get((module, name))) is None:
            raise _Refused(f"{module}.{name}"[:100])
        return found

    def load_bytearray8(self) -> None:
        (length,) = unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))  # what is there, where the other would claim memory first

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append(_with_items({}, items))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _with_items(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        _with_items(self.stack[-1], items)

    def load_set(self) -> None:
        raise ValueError("a set")

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.EMPTY_SET[0]] = load_set
    dispatch[pickle.FROZENSET[0]] = load_set


def _with_items(filled: object, items: list[Any]) -> dict[Any, Any]:
    """The dict with keys and values in turn; keys that hold others may take for ever to hash."""
    if not isinstance(filled, dict):
        raise ValueError("items of what is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | bytes | int | float):
            raise ValueError("a dict whose keys are neither text nor numbers")
        filled[key] = value
    return filled
