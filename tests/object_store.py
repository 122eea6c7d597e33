"""A server of the S3 protocol on this machine, whose buckets lie in memory."""

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import fsspec
from moto.server import ThreadedMotoServer


@contextmanager
def object_store() -> Iterator[Mapping[str, str]]:
    """Up until the end of the block; the environment in which clients find it, and may enter."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "may enter",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.stop()


def new_bucket() -> str:
    """The name of an empty one, in the store that the environment names."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    fsspec.filesystem("s3").mkdir(name)
    return name
