import doctest
import importlib
import pkgutil

import pytest

import service

MODULES = [
    found.name
    for found in pkgutil.walk_packages(service.__path__, "service.")
    if not found.name.startswith("service.queue.migrations.")  # Alembic alone may run those
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    assert sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES) >= 5
