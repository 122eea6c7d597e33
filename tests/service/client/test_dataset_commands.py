import json

import pytest

from sdcn_core.config.data import VocSource
from service.client import ApiProblem, SdcnClient
from service.jobs.answers import JobRead
from service.jobs.data_specs import DatasetSpec, RegisteredSource
from service.jobs.specs import EvaluateSpec
from service.jobs.states import DatasetState
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.test_datasets import check_ends
from tests.service.api.test_jobs import start
from tests.service.client.test_cli import Sdcn, sdcn
from tests.service.data_counts import PROBLEM, counts_without_boxes

__all__ = ["sdcn"]  # the fixture

ANIMALS = DatasetSpec(name="animals", source=VocSource(path="voc12_animals"))


@pytest.fixture
def animals(client: SdcnClient, jobs: JobQueue) -> None:
    """A data set that is ready."""
    client.add_dataset(ANIMALS)
    check_ends(jobs)


def test_the_client_registers_lists_checks_and_removes(client: SdcnClient, jobs: JobQueue) -> None:
    added = client.add_dataset(ANIMALS)
    assert (added.state, added.source) == (DatasetState.CHECKING, ANIMALS.source.model_dump(mode="json"))
    check_ends(jobs, PROBLEM)
    assert client.dataset("animals").problems == (PROBLEM,)
    assert client.check_dataset("animals").state is DatasetState.CHECKING
    client.add_dataset(DatasetSpec(name="birds", source=VocSource(path="birds")))
    assert [one.name for one in client.datasets(page_size=1)] == ["animals", "birds"]
    check_ends(jobs)
    client.remove_dataset("animals")
    with pytest.raises(ApiProblem, match="no data set is registered as 'animals'; there are: birds"):
        client.dataset("animals")


def test_a_spec_of_objects_is_sent_with_the_kinds_by_which_it_is_read(client: SdcnClient, animals: None) -> None:
    with pytest.raises(ApiProblem) as refused:
        client.submit(EvaluateSpec(model="ab12", source=RegisteredSource(name="animals")))
    assert [error.field for error in refused.value.problem.errors] == ["model"]  # the source was understood


def test_datasets_are_listed_with_their_state_and_images(sdcn: Sdcn, client: SdcnClient, jobs: JobQueue) -> None:
    assert "sdcn datasets add NAME FOLDER" in sdcn("datasets").stdout
    client.add_dataset(ANIMALS)
    check_ends(jobs, PROBLEM)
    client.add_dataset(DatasetSpec(name="birds", source=VocSource(path="birds")))
    lines = sdcn("datasets").stdout.splitlines()
    assert any("animals" in line and "refused, 1 problem" in line and "trainval 30, test 12" in line for line in lines)
    assert any("birds" in line and "checking" in line for line in lines)
    assert [one["name"] for one in json.loads(sdcn("datasets", "--json").stdout)] == ["animals", "birds"]


def test_adding_says_where_the_check_is(sdcn: Sdcn, client: SdcnClient) -> None:
    done = sdcn("datasets", "add", "animals", "voc12_animals", "--train-split", "train", "--set", 'classes=["cat"]')
    found = client.dataset("animals")
    assert (done.exit_code, found.job_id in done.stdout) == (0, True)
    assert found.source == {
        "kind": "voc",
        "path": "voc12_animals",
        "train_split": "train",
        "test_split": "test",
        "classes": ["cat"],
    }


def test_sources_of_other_kinds_are_added_by_their_fields(sdcn: Sdcn, client: SdcnClient) -> None:
    assert sdcn("datasets", "add", "my-scenes", "--kind", "scenes", "--set", "seed=4", "--json").exit_code == 0
    assert client.dataset("my-scenes").source["seed"] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "no name", "x"), "name: String should match"),
        (("add", "animals"), "source.path: is required"),
        (("add", "animals", "../x"), "source.path: must be a path below the configured root"),
        (("add", "animals", "x", "--kind", "tapes"), "source: Input tag 'tapes'"),
        (("add", "animals", "x", "--set", "sauce=1"), "source.sauce: there is no such field"),
        (("show", "nobody"), "no data set is registered as 'nobody'"),
        (("check", "nobody"), "no data set is registered as 'nobody'"),
        (("remove", "nobody"), "no data set is registered as 'nobody'"),
        (("--json", "show", "nobody"), "sdcn datasets show ... --json"),
    ],
)
def test_what_cannot_be_is_refused_by_name(sdcn: Sdcn, arguments: tuple[str, ...], said: str) -> None:
    done = sdcn("datasets", *arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())


def test_a_data_set_is_shown_with_its_counts(sdcn: Sdcn, animals: None) -> None:
    shown = sdcn("datasets", "show", "animals").stdout
    assert "animals (voc) is ready" in shown
    rows = {line.split("│")[1].strip(): line for line in shown.splitlines() if line.startswith("│")}
    assert "60 (30)" in rows["dog"]  # objects, and the difficult ones
    assert "70 (30)" in rows["all"]
    assert "trainval: images 133 to 500 (median 200) px wide" in shown
    assert json.loads(sdcn("datasets", "show", "animals", "--json").stdout)["state"] == "ready"


def test_a_refused_data_set_is_shown_with_its_problems(sdcn: Sdcn, client: SdcnClient, jobs: JobQueue) -> None:
    client.add_dataset(ANIMALS)
    check_ends(jobs, *(f"image {number} is broken: replace it" for number in range(14)))
    shown = sdcn("datasets", "show", "animals").stdout
    assert "cannot be used: image 9 is broken: replace it" in shown
    assert "and 4 more problems" in shown


def test_a_data_set_that_nobody_has_read_is_shown_with_why(sdcn: Sdcn, client: SdcnClient) -> None:
    client.cancel(client.add_dataset(ANIMALS).job_id)
    assert "animals (voc) is unchecked" in sdcn("datasets", "show", "animals").stdout
    assert "the check cancelled" in sdcn("datasets", "show", "animals").stdout


def test_where_nobody_drew_boxes_there_is_a_dash(sdcn: Sdcn, client: SdcnClient, jobs: JobQueue) -> None:
    client.add_dataset(ANIMALS)
    jobs.settle(start(jobs), Settlement.succeeded(counts_without_boxes().model_dump(mode="json")))
    row = next(line for line in sdcn("datasets", "show", "animals").stdout.splitlines() if "│ cat" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["cat", "10", "–"]


@pytest.mark.parametrize("as_json", [(), ("--json",)])
@pytest.mark.parametrize(("problems", "exit_code"), [((), 0), ((PROBLEM,), 1)])
def test_a_watched_check_ends_by_whether_the_data_set_can_be_used(
    sdcn: Sdcn,
    jobs: JobQueue,
    animals: None,
    monkeypatch: pytest.MonkeyPatch,
    problems: tuple[str, ...],
    exit_code: int,
    as_json: tuple[str, ...],
) -> None:
    look = SdcnClient.get

    def look_when_it_has_ended(client: SdcnClient, job_id: str) -> JobRead:
        if not look(client, job_id).state.is_terminal:
            check_ends(jobs, *problems)
        return look(client, job_id)

    monkeypatch.setattr(SdcnClient, "get", look_when_it_has_ended)
    done = sdcn("datasets", "check", "animals", "--watch", *as_json)
    assert done.exit_code == exit_code
    if as_json:
        assert json.loads(done.stdout)["problems"] == list(problems)
    else:
        assert ("cannot be used" in done.stdout) == bool(problems)


def test_removing_says_that_the_files_stay(sdcn: Sdcn, client: SdcnClient, animals: None) -> None:
    assert "files are where they were" in sdcn("datasets", "remove", "animals").stdout
    assert list(client.datasets()) == []


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("submit", "tiny", "--data", "animals", "--set", "data.source.train_split=train"), "train"),
        (("submit", "table-2", "--preset", "tiny", "--data", "animals"), "ablation"),
        (("submit", "--preset", "tiny", "--data", "animals"), "train"),
    ],
)
def test_jobs_name_a_data_set(
    sdcn: Sdcn, client: SdcnClient, animals: None, arguments: tuple[str, ...], kind: str
) -> None:
    assert sdcn(*arguments).exit_code == 0
    spec = client.get(next(client.jobs(kind=kind)).id).spec
    source = spec["experiment"]["data"]["source"]  # type: ignore[index, call-overload]
    assert source["path"] == "voc12_animals"  # type: ignore[index, call-overload]
    assert source["train_split"] == ("train" if "--set" in arguments else "trainval")  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("submit", "table-2", "--data", "animals"), "say on which experiment"),
        (("submit", "--data", "animals"), "animals is no preset, so a registered data set"),
        (("submit", "tiny", "--preset", "scenes", "--data", "animals"), "both tiny and scenes name an experiment"),
        (("submit", "--preset", "tiny", "--data", "scenes"), "both tiny and scenes name an experiment"),
        (("submit", "tiny", "--data", "beasts"), "'beasts'; there are: animals"),
        (("evaluate", "ab12", "--data", "beasts"), "'beasts'; there are: animals"),
        (("evaluate", "ab12", "--data", "animals", "--data-path", "x"), "--data and --data-path both name"),
    ],
)
def test_a_data_set_that_is_not_clear_is_refused(
    sdcn: Sdcn, client: SdcnClient, animals: None, arguments: tuple[str, ...], said: str
) -> None:
    done = sdcn(*arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())
    assert [job.kind for job in client.jobs()] == ["check_data"]
