"""Loops compiled by numba. Importing this module needs numba, which is optional: whoever has such loops has them in
plain numpy or torch too.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, parallel: bool) -> Callable[[Function], Function]:
    """A decorator: compile the function when it is first called, and keep that for other processes where it can be.

    Args:
        parallel: whether its `prange` loops are shared out among threads.
    """

    def compile_it(function: Function) -> Function:
        try:
            return numba.njit(parallel=parallel, cache=True)(function)
        except RuntimeError:  # no folder to cache in can be written, as in a read-only container
            return numba.njit(parallel=parallel)(function)

    return compile_it
