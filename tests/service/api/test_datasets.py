from typing import Any

import httpx
import pytest

from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.test_jobs import start
from tests.service.data_counts import PROBLEM, counts, counts_without_boxes

ANIMALS: dict[str, Any] = {"name": "animals", "source": {"kind": "voc", "path": "voc12_animals"}}
ON_ANIMALS = {"preset": "tiny", "overrides": {"data.source": {"kind": "registered", "name": "animals"}}}


def check_ends(jobs: JobQueue, *problems: str) -> None:
    jobs.settle(start(jobs), Settlement.succeeded(counts(*problems).model_dump(mode="json")))


@pytest.fixture
def animals(api: httpx.Client) -> dict[str, Any]:
    registered: dict[str, Any] = api.post("/v1/datasets", json=ANIMALS).json()
    return registered


def test_a_data_set_is_accepted_with_its_place_and_its_check(api: httpx.Client) -> None:
    answer = api.post("/v1/datasets", json=ANIMALS)
    read = answer.json()
    assert (answer.status_code, read["state"], read["counts"], read["problems"]) == (202, "checking", None, [])
    assert answer.headers["Location"] == "/v1/datasets/animals"
    assert api.get(answer.headers["Location"]).json() == read
    check = api.get(f"/v1/jobs/{read['job_id']}").json()
    assert (check["kind"], check["name"], check["spec"]["source"]) == ("check_data", "animals", read["source"])


def test_counts_are_there_once_the_check_has_ended(api: httpx.Client, jobs: JobQueue, animals: dict[str, Any]) -> None:
    check_ends(jobs)
    read = api.get("/v1/datasets/animals").json()
    assert read["state"] == "ready"
    assert read["counts"] == counts().model_dump(mode="json")
    assert read["counts"]["splits"][0]["classes"]["dog"] == {
        "images": 30,
        "objects": 60,
        "difficult": 30,
        "objects_per_image": 2,
    }
    assert api.get(f"/v1/jobs/{animals['job_id']}/results").json() == read["counts"]


def test_a_data_set_of_labels_alone_has_no_counts_of_objects(
    api: httpx.Client, jobs: JobQueue, animals: dict[str, Any]
) -> None:
    jobs.settle(start(jobs), Settlement.succeeded(counts_without_boxes().model_dump(mode="json")))
    split = api.get("/v1/datasets/animals").json()["counts"]["splits"][0]
    assert (split["objects"], split["classes"]["cat"]["objects"], split["classes"]["cat"]["images"]) == (None, None, 10)


def test_data_sets_are_listed_by_name_with_their_images(
    api: httpx.Client, jobs: JobQueue, animals: dict[str, Any]
) -> None:
    check_ends(jobs, PROBLEM)
    for name in ("zebras", "birds"):
        api.post("/v1/datasets", json={"name": name, "source": {"kind": "scenes"}})
    page = api.get("/v1/datasets", params={"limit": 2}).json()
    assert [(one["name"], one["state"], one["images"], one["num_problems"]) for one in page["datasets"]] == [
        ("animals", "refused", {"trainval": 30, "test": 12, "train": 24}, 1),
        ("birds", "checking", None, 0),
    ]
    rest = api.get("/v1/datasets", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert ([one["name"] for one in rest["datasets"]], rest["next_cursor"]) == (["zebras"], None)


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"name": "no name"}, "name", "String should match"),
        ({"source": {"kind": "voc", "path": "../x"}}, "source.path", "below the configured root"),
        ({"source": {"kind": "voc", "path": "/etc"}}, "source.path", "below the configured root"),
        ({"source": {"kind": "tapes"}}, "source", "expected tags"),
        ({"source": {"kind": "registered", "name": "x"}}, "source", "expected tags"),
        ({"sauce": 1}, "sauce", "no such field"),
    ],
)
def test_a_data_set_that_cannot_be_is_refused_by_field(
    api: httpx.Client, change: dict[str, Any], field: str, said: str
) -> None:
    answer = api.post("/v1/datasets", json=ANIMALS | change)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert said in answer.json()["detail"]
    assert api.get("/v1/jobs").json()["jobs"] == []


def test_a_name_that_is_taken_is_refused_with_the_way_out(api: httpx.Client, animals: dict[str, Any]) -> None:
    answer = api.post("/v1/datasets", json=ANIMALS | {"source": {"kind": "scenes"}})
    assert (answer.status_code, answer.json()["title"]) == (409, "The name is taken")
    assert "DELETE /v1/datasets/animals" in answer.json()["detail"]


def test_the_name_of_a_preset_is_taken_too(api: httpx.Client) -> None:
    answer = api.post("/v1/datasets", json=ANIMALS | {"name": "scenes"})
    assert (answer.status_code, "is a preset" in answer.json()["detail"]) == (409, True)


def test_checking_again_makes_a_new_job_when_the_last_has_ended(
    api: httpx.Client, jobs: JobQueue, animals: dict[str, Any]
) -> None:
    assert api.post("/v1/datasets/animals/check").json()["job_id"] == animals["job_id"]
    check_ends(jobs)
    answer = api.post("/v1/datasets/animals/check")
    assert (answer.status_code, answer.json()["state"]) == (202, "checking")
    assert answer.json()["job_id"] != animals["job_id"]


def test_removing_needs_its_jobs_to_have_ended(api: httpx.Client, jobs: JobQueue, animals: dict[str, Any]) -> None:
    refused = api.delete("/v1/datasets/animals")
    assert (refused.status_code, animals["job_id"] in refused.json()["detail"]) == (409, True)
    check_ends(jobs)
    answer = api.delete("/v1/datasets/animals")
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get("/v1/datasets/animals").status_code == 404


@pytest.mark.parametrize("name", ["nobody", "%00", "a" * 100, "..%2fpresets", "no%20name"])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("POST", "/check"), ("DELETE", "")])
def test_a_data_set_that_does_not_exist_is_a_problem(api: httpx.Client, name: str, method: str, rest: str) -> None:
    answer = api.request(method, f"/v1/datasets/{name}{rest}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("POST", "/animals/check"), ("DELETE", "/animals")])
def test_another_site_changes_nothing(
    api: httpx.Client, jobs: JobQueue, animals: dict[str, Any], method: str, path: str
) -> None:
    check_ends(jobs)
    body = ANIMALS | {"name": "more"} if not path else None
    answer = api.request(method, f"/v1/datasets{path}", json=body, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert [one["name"] for one in api.get("/v1/datasets").json()["datasets"]] == ["animals"]
    assert len(api.get("/v1/jobs").json()["jobs"]) == 1


def test_a_job_on_a_ready_data_set_has_its_source_in_its_spec(
    api: httpx.Client, jobs: JobQueue, animals: dict[str, Any]
) -> None:
    check_ends(jobs)
    job = api.post("/v1/jobs", json=ON_ANIMALS).json()
    assert job["spec"]["experiment"]["data"]["source"] == animals["source"]
    by_source = {"preset": "tiny", "overrides": {"data.source": ANIMALS["source"]}}
    assert api.post("/v1/jobs", json=by_source).json()["config_digest"] == job["config_digest"]
    assert job["id"] in api.delete("/v1/datasets/animals").json()["detail"]


def test_a_job_on_a_data_set_that_is_being_checked_is_taken_and_warned_about(
    api: httpx.Client, animals: dict[str, Any]
) -> None:
    checked = api.post("/v1/jobs", params={"validate_only": "true"}, json=ON_ANIMALS).json()
    assert "'animals' is still being checked" in checked["warnings"][0]
    assert api.post("/v1/jobs", json=ON_ANIMALS).status_code == 202


def test_a_job_on_an_unchecked_data_set_is_taken_and_warned_about(api: httpx.Client, animals: dict[str, Any]) -> None:
    api.post(f"/v1/jobs/{animals['job_id']}/cancel")
    assert api.get("/v1/datasets/animals").json()["state"] == "unchecked"
    checked = api.post("/v1/jobs", params={"validate_only": "true"}, json=ON_ANIMALS).json()
    assert "'animals' is unchecked: the check cancelled" in checked["warnings"][0]


@pytest.mark.parametrize("only_validate", ["true", "false"])
def test_a_job_on_a_refused_data_set_is_refused_with_the_first_problem(
    api: httpx.Client, jobs: JobQueue, animals: dict[str, Any], only_validate: str
) -> None:
    check_ends(jobs, PROBLEM, "another one")
    answer = api.post("/v1/jobs", params={"validate_only": only_validate}, json=ON_ANIMALS)
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "overrides.data.source")
    assert PROBLEM in error["message"]
    assert "and 1 more: GET /v1/datasets/animals" in error["message"]
    assert "POST /v1/datasets/animals/check" in error["message"]


def test_a_job_on_an_unknown_data_set_is_refused_with_those_there_are(
    api: httpx.Client, animals: dict[str, Any]
) -> None:
    asked = {"kind": "evaluate", "model": "ab12", "source": {"kind": "registered", "name": "beasts"}}
    answer = api.post("/v1/jobs", json=asked)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": "source", "message": "no data set is registered as 'beasts'; there are: animals"}
    ]


def test_a_source_may_be_checked_without_a_name(api: httpx.Client) -> None:
    job = api.post("/v1/jobs", json={"kind": "check_data", "source": {"kind": "scenes"}}).json()
    assert (job["kind"], job["name"]) == ("check_data", "check-scenes")
    refused = api.post(
        "/v1/jobs", json={"kind": "check_data", "source": {"kind": "scenes"}, "resources": {"num_workers": 2}}
    )
    assert refused.json()["errors"][0]["field"] == "resources.num_workers"
