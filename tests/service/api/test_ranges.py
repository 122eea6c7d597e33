import httpx
import pytest

from tests.service.api.test_artifacts import PNG, job_id

__all__ = ["job_id"]


@pytest.fixture
def picture(api: httpx.Client, job_id: str) -> str:
    return f"/v1/jobs/{job_id}/artifacts/gallery.png"


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("bytes=0-3", 0, 3), ("bytes=4-", 4, 11), ("bytes=-5", 7, 11), ("bytes=2-99", 2, 11)]
)
def test_a_part_of_a_file_is_sent_alone(api: httpx.Client, picture: str, asked: str, first: int, last: int) -> None:
    assert len(PNG) == 12
    answer = api.get(picture, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, PNG[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/12"
    assert answer.headers["Content-Length"] == str(last + 1 - first)


@pytest.mark.parametrize("asked", ["bytes=5-2", "lines=1-2", "bytes=0-1,4-5", "bytes=-", "nonsense"])
def test_what_is_no_single_range_is_answered_with_the_whole(api: httpx.Client, picture: str, asked: str) -> None:
    answer = api.get(picture, headers={"Range": asked})
    assert (answer.status_code, answer.content, answer.headers["Accept-Ranges"]) == (200, PNG, "bytes")


def test_a_part_behind_the_end_is_a_problem_that_says_how_long_the_file_is(api: httpx.Client, picture: str) -> None:
    answer = api.get(picture, headers={"Range": "bytes=12-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */12")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_part_is_sent_only_of_the_file_that_it_was_meant_for(api: httpx.Client, picture: str) -> None:
    tag = api.get(picture).headers["ETag"]
    assert api.get(picture, headers={"Range": "bytes=4-", "If-Range": tag}).status_code == 206
    assert api.get(picture, headers={"Range": "bytes=4-", "If-Range": '"another"'}).content == PNG
