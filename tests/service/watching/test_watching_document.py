"""What docs/watching.md says to type does what it says."""

import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from service.client import SdcnClient, cli, terminal
from service.jobs.states import FailureReason
from service.jobs.webhook_answers import WebhookMessage, WebhookSpec
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from service.webhooks.signing import new_secret, signed_headers
from tests.service.api.studies import ABLATION, begin_run, leave
from tests.service.api.test_jobs import start
from tests.service.run_files.spools import append, metrics
from tests.service.watching.test_log_streams import write

DOCUMENT = (Path(__file__).parents[3] / "docs" / "watching.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL) for line in block.splitlines()]
RUN = "oicr-seed0"


@pytest.fixture
def job_id(url: str, jobs: JobQueue, tmp_path: Path) -> str:
    """A study that has ended, and has left everything that the document asks for."""
    job_id = str(httpx.post(f"{url}/v1/jobs", json=ABLATION).json()["id"])
    folder = tmp_path / "runs" / job_id
    claim = start(jobs)
    write(folder, 1, "a line\n")
    write(begin_run(tmp_path, job_id, RUN), 1, "a line of the run\n")
    append(folder, 1, metrics(10, **{"loss/mil": 0.5}))
    leave(folder, report_html=b"x" * 500)
    jobs.settle(claim, Settlement.failed(FailureReason.DIVERGED, "nan"))
    return job_id


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_document_works(
    url: str, job_id: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "open_client", lambda *_: SdcnClient(url))
    with SdcnClient(url) as client:
        hook = client.add_webhook(WebhookSpec(url="https://example.org/hook")).id
    names = {"JOB": job_id, "STUDY": job_id, "RUN": RUN, "HOOK": hook}
    words = shlex.split(re.sub(r"\b(JOB|STUDY|RUN|HOOK)\b", lambda name: names[name[0]], command))
    if words[0] == "sdcn":
        done = CliRunner().invoke(cli.app, words[1:])
        assert done.exit_code == (1 if words[1] == "watch" else 0), done.output  # the job has failed
        assert done.stdout
        return
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    asked = [word.replace("localhost:8000", url.removeprefix("http://")) for word in words]
    answer = subprocess.run([*asked, "--fail-with-body"], capture_output=True, text=True, timeout=30, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    if "-N" in words:
        assert answer.stdout.endswith('event: end\ndata: {"state":"failed"}\n\n')


def test_the_document_shows_how_a_receiver_knows_who_speaks() -> None:
    scope: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)[0], scope)
    secret, body = new_secret(), re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)[0]
    assert WebhookMessage.model_validate_json(body).data.to_state == "succeeded"
    headers = signed_headers(secret, "msg_1", int(time.time()), body)
    assert scope["is_ours"](headers, body.encode(), secret)
    assert not scope["is_ours"](headers, body.encode() + b" ", secret)
    assert not scope["is_ours"](headers, body.encode(), new_secret())
    assert not scope["is_ours"](signed_headers(secret, "msg_1", int(time.time()) - 900, body), body.encode(), secret)


def test_the_events_of_a_stream_are_those_in_the_document(url: str, job_id: str) -> None:
    streamed = "".join(
        httpx.get(f"{url}/v1/jobs/{job_id}/{kind}", headers={"Accept": "text/event-stream"}).text
        for kind in ("events", "logs")
    )
    assert set(re.findall(r"^event: (\w+)$", streamed, re.MULTILINE)) <= set(re.findall(r"`(\w+)`", DOCUMENT))
