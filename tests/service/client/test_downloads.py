import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.client import BrokenDownload, SdcnClient, ServerUnreachable
from service.jobs.answers import ArtifactRead
from service.jobs.specs import TrainSpec
from tests.service.api.studies import leave
from tests.service.in_process import InProcess

CONTENT = os.urandom(100_000)


class Breaking(httpx.BaseTransport):
    """Connections that break after so many bytes of a file."""

    def __init__(self, transport: httpx.BaseTransport, after_bytes: list[int]) -> None:
        self._transport = transport
        self._after_bytes = after_bytes
        self.asked: list[str | None] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._transport.handle_request(request)
        if "artifacts/" not in request.url.path:
            return answer
        self.asked.append(request.headers.get("Range"))
        if not self._after_bytes:
            return answer
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return httpx.Response(
            answer.status_code, headers=headers, stream=_Broken(answer.content[: self._after_bytes.pop(0)])
        )


class _Broken(httpx.SyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("connection reset")


@pytest.fixture
def artifact(client: SdcnClient, tmp_path: Path) -> ArtifactRead:
    job = client.submit(TrainSpec(preset="tiny"))
    leave(tmp_path / "runs" / job.id, model_pt=CONTENT)
    return client.artifacts(job.id)[0]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def test_a_download_goes_on_where_it_broke(transport: InProcess, artifact: ArtifactRead, here: Path) -> None:
    breaking = Breaking(transport, [30_000, 50_000])
    with SdcnClient("http://localhost", transport=breaking) as client:
        assert client.fetch(artifact, here).read_bytes() == CONTENT
    assert breaking.asked == [None, "bytes=30000-", "bytes=80000-"]
    assert [path.name for path in here.iterdir()] == ["model.pt"]


def test_where_no_part_can_be_had_the_whole_is_fetched_anew(
    transport: InProcess, artifact: ArtifactRead, here: Path
) -> None:
    class Deaf(Breaking):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.headers.pop("Range", None)
            return super().handle_request(request)

    with SdcnClient("http://localhost", transport=Deaf(transport, [30_000])) as client:
        assert client.fetch(artifact, here).read_bytes() == CONTENT


def test_what_had_arrived_is_kept_for_the_next_call(transport: InProcess, artifact: ArtifactRead, here: Path) -> None:
    breaking = Breaking(transport, [1000, 1000, 1000])
    with SdcnClient("http://localhost", transport=breaking) as client:
        with pytest.raises(ServerUnreachable):
            client.fetch(artifact, here)
        assert not (here / "model.pt").exists()
        assert client.fetch(artifact, here).read_bytes() == CONTENT
    assert breaking.asked[-1] == "bytes=3000-"


def test_a_file_that_was_replaced_meanwhile_is_not_patched_together(
    transport: InProcess, artifact: ArtifactRead, here: Path, tmp_path: Path
) -> None:
    breaking = Breaking(transport, [1000, 1000, 1000])
    with SdcnClient("http://localhost", transport=breaking) as client:
        with pytest.raises(ServerUnreachable):
            client.fetch(artifact, here)
        leave(tmp_path / "runs" / artifact.url.split("/")[3], model_pt=b"another model")
        with pytest.raises(BrokenDownload, match="fetch it again"):
            client.fetch(artifact, here)
        (newer,) = client.artifacts(artifact.url.split("/")[3])
        assert newer.sha256 == hashlib.sha256(b"another model").hexdigest()
        assert client.fetch(newer, here).read_bytes() == b"another model"
    assert [path.name for path in here.iterdir()] == ["model.pt"]


def test_two_downloads_into_one_file_do_not_mix(client: SdcnClient, artifact: ArtifactRead, here: Path) -> None:
    with (here / f".model.pt.{artifact.sha256[:16]}.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BrokenDownload, match="another process"):
            client.fetch(artifact, here)
