import hashlib
from pathlib import Path

import httpx
import pytest

from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.studies import ABLATION, begin_run, leave
from tests.service.api.test_jobs import RESULTS, start

PNG = b"\x89PNG picture"


@pytest.fixture
def job_id(api: httpx.Client, tmp_path: Path) -> str:
    found = str(api.post("/v1/jobs", json={"preset": "tiny"}).json()["id"])
    leave(tmp_path / "runs" / found, gallery_png=PNG, report_html=b"<script>alert(1)</script>", model_pt=b"\x80")
    return found


def test_files_are_listed_with_what_a_client_needs_to_fetch_them(api: httpx.Client, job_id: str) -> None:
    listed = api.get(f"/v1/jobs/{job_id}/artifacts").json()["artifacts"]
    assert [file["name"] for file in listed] == ["gallery.png", "model.pt", "report.html"]
    picture = listed[0]
    assert picture["sha256"] == hashlib.sha256(PNG).hexdigest()
    answer = api.get(picture["url"])
    assert (answer.content, answer.headers["Content-Type"]) == (PNG, "image/png")
    assert int(answer.headers["Content-Length"]) == picture["num_bytes"]
    assert answer.headers["ETag"] == f'"{picture["sha256"]}"'


def test_a_copy_at_hand_is_not_sent_again(api: httpx.Client, job_id: str, tmp_path: Path) -> None:
    url = f"/v1/jobs/{job_id}/artifacts/gallery.png"
    tag = api.get(url).headers["ETag"]
    again = api.get(url, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    leave(tmp_path / "runs" / job_id, gallery_png=b"another picture")
    assert api.get(url, headers={"If-None-Match": tag}).content == b"another picture"


def test_a_page_that_a_job_left_can_do_nothing_in_a_browser(api: httpx.Client, job_id: str) -> None:
    headers = api.get(f"/v1/jobs/{job_id}/artifacts/report.html").headers
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_what_no_browser_shows_is_saved(api: httpx.Client, job_id: str) -> None:
    headers = api.get(f"/v1/jobs/{job_id}/artifacts/model.pt").headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == 'attachment; filename="model.pt"'


@pytest.mark.parametrize("name", ["none.png", "..%2f..%2f..%2fqueue.db", "%2e%2e", ".gallery.png", "a%00b", "a" * 150])
def test_what_is_no_artifact_is_a_problem(api: httpx.Client, job_id: str, name: str) -> None:
    answer = api.get(f"/v1/jobs/{job_id}/artifacts/{name}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_links_out_of_the_folder_are_not_followed(api: httpx.Client, job_id: str, tmp_path: Path) -> None:
    (tmp_path / "runs" / job_id / "artifacts" / "db.json").symlink_to(tmp_path / "queue.db")
    assert api.get(f"/v1/jobs/{job_id}/artifacts/db.json").status_code == 404
    assert "db.json" not in api.get(f"/v1/jobs/{job_id}/artifacts").text


def test_files_of_a_run_have_its_name_in_their_address(api: httpx.Client, tmp_path: Path) -> None:
    study = api.post("/v1/jobs", json=ABLATION).json()["id"]
    leave(begin_run(tmp_path, study, "oicr-seed0"), gallery_png=PNG)
    (file,) = api.get(f"/v1/jobs/{study}/artifacts", params={"run": "oicr-seed0"}).json()["artifacts"]
    assert api.get(file["url"]).content == PNG
    assert api.get(f"/v1/jobs/{study}/artifacts").json() == {"artifacts": []}


def test_a_job_that_is_none_has_no_files(api: httpx.Client, job_id: str, tmp_path: Path) -> None:
    leave(tmp_path / "runs" / "ffff", secret_png=b"")
    for place in ("artifacts", "artifacts/secret.png", "table", "runs", "metrics"):
        assert api.get(f"/v1/jobs/ffff/{place}").status_code == 404


@pytest.mark.parametrize(
    ("wanted", "name"), [("markdown", "table_md"), ("latex", "table_tex"), ("csv", "table_csv"), ("json", "table_json")]
)
def test_a_table_comes_in_every_format(api: httpx.Client, tmp_path: Path, wanted: str, name: str) -> None:
    study = api.post("/v1/jobs", json=ABLATION).json()["id"]
    url = f"/v1/jobs/{study}/table"
    early = api.get(url, params={"format": wanted})
    assert early.status_code == 409
    assert "ask again" in early.json()["detail"]
    leave(tmp_path / "runs" / study, **{name: b"the table"})
    assert api.get(url, params={"format": wanted}).content == b"the table"


def test_a_sweep_has_no_table_in_latex_and_a_training_none_at_all(api: httpx.Client, job_id: str) -> None:
    space = {"objective.tau_0": {"kind": "choice", "values": [0.1, 0.9]}}
    sweep = api.post("/v1/jobs", json={"kind": "sweep", "preset": "tiny", "space": space}).json()["id"]
    assert "markdown, csv, json, not as latex" in api.get(f"/v1/jobs/{sweep}/table?format=latex").json()["detail"]
    answer = api.get(f"/v1/jobs/{job_id}/table")
    assert answer.status_code == 409
    assert "only an ablation and a sweep" in answer.json()["detail"]


def test_a_study_that_ended_without_a_table_says_so(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    study = api.post("/v1/jobs", json=ABLATION).json()["id"]
    api.post(f"/v1/jobs/{study}/cancel")
    assert "it is cancelled, and it has left none" in api.get(f"/v1/jobs/{study}/table").json()["detail"]


def test_a_report_s_links_lead_to_the_files_of_its_runs(api: httpx.Client, tmp_path: Path) -> None:
    study = str(api.post("/v1/jobs", json=ABLATION).json()["id"])
    leave(begin_run(tmp_path, study, "oicr-seed0"), gallery_png=PNG)
    report = f"http://test/v1/jobs/{study}/artifacts/report.html"
    linked = str(httpx.URL(report).join("../runs/oicr-seed0/artifacts/gallery.png").path)
    assert api.get(linked).content == PNG
    assert api.get(linked.replace("oicr-seed0", "..%2f..")).status_code == 404
