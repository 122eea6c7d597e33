"""For every process of the tests, before it imports torch or starts another; and what tests of several rooms share."""

import os
from collections.abc import Iterator, Mapping

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest's own processes share out the cores; threads would wait for them
os.environ.setdefault("SDCN_OPEN_ON_LOOPBACK", "true")  # tests call as a person on the machine; those of keys do not


@pytest.fixture(scope="session")
def store_environment() -> Iterator[Mapping[str, str]]:
    """An object store for the tests of this process; only who asks for it waits for it."""
    from tests.object_store import object_store

    with object_store() as environment:
        yield environment


@pytest.fixture
def bucket_url(store_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a folder in a bucket of the test's own, which this process and those that it starts may use."""
    from tests.object_store import new_bucket

    for name, value in store_environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{new_bucket()}/sdcn"
