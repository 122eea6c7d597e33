import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.client import SdcnClient, cli, terminal, up
from service.embedded.home import locked
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.test_jobs import RESULTS, WHOLE_RESULTS, start
from tests.service.in_process import InProcess

Sdcn = Callable[..., Result]
TINY = TrainSpec(preset="tiny")


@pytest.fixture
def sdcn(transport: InProcess, monkeypatch: pytest.MonkeyPatch) -> Sdcn:
    """The command, its requests answered by the service in this process."""
    monkeypatch.setattr(terminal, "open_client", lambda *_: SdcnClient("http://localhost", transport=transport))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


def test_submit_says_how_to_follow_the_job(sdcn: Sdcn, client: SdcnClient) -> None:
    done = sdcn("submit", "--preset", "tiny", "--set", "objective.tau_0=0.3", "--workers", "2", "--name", "mine")
    (job,) = client.jobs()
    assert done.exit_code == 0
    assert f"sdcn watch {job.id}" in done.stdout
    spec = client.get(job.id).spec
    assert spec["experiment"]["objective"]["tau_0"] == 0.3  # type: ignore[index, call-overload]
    assert (spec["resources"]["num_workers"], job.name) == (2, "mine")  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("arguments", "kind", "count"),
    [
        (("tiny",), "train", 1),
        (("table-2", "--data", "tiny", "--seeds", "3"), "ablation", 12),
        (("figure-5", "--preset", "tiny", "--seed", "4"), "sweep", 16),
    ],
)
def test_a_name_is_that_of_an_experiment_or_of_a_study(
    sdcn: Sdcn, client: SdcnClient, arguments: tuple[str, ...], kind: str, count: int
) -> None:
    checked = json.loads(sdcn("submit", *arguments, "--validate", "--json").stdout)
    assert (checked["spec"]["kind"], checked["runs"]) == (kind, count)
    assert sdcn("submit", *arguments).exit_code == 0
    assert [job.kind for job in client.jobs()] == [kind]


def test_seeds_go_where_the_kind_of_job_has_them(sdcn: Sdcn) -> None:
    study = json.loads(sdcn("submit", "table-2", "--data", "tiny", "--seeds", "2", "--validate", "--json").stdout)
    assert study["spec"]["seeds"] == [0, 1]
    training = json.loads(sdcn("submit", "tiny", "--seed", "7", "--validate", "--json").stdout)
    assert training["spec"]["experiment"]["seed"] == 7


def test_a_method_turns_any_experiment_into_it_and_set_has_the_last_word(sdcn: Sdcn) -> None:
    asked = ("submit", "tiny", "--method", "wsddn", "--set", "schedule.classifier.steps=3", "--validate", "--json")
    experiment = json.loads(sdcn(*asked).stdout)["spec"]["experiment"]
    assert experiment["model"]["detection"]["refinements"] == 0
    assert not experiment["objective"]["segmentation_branch"]
    assert experiment["schedule"]["classifier"]["steps"] == 3


def test_a_file_may_hold_the_spec_and_options_change_it(sdcn: Sdcn, client: SdcnClient, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"preset": "tiny", "name": "a", "overrides": {"seed": 5}, "resources": {"gpus_per_worker": 1}}')
    assert sdcn("submit", "--file", str(file), "--name", "b", "--workers", "2", "--json").exit_code == 0
    (job,) = client.jobs()
    spec = client.get(job.id).spec
    assert (job.name, spec["experiment"]["seed"]) == ("b", 5)  # type: ignore[index, call-overload]
    assert spec["resources"] == {"num_workers": 2, "cpus_per_worker": None, "gpus_per_worker": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "tiny", "--set", "tau"], "PATH=VALUE"),
        (["table-2"], "--preset scenes"),
        (["tiny", "--data", "scenes"], "give one"),
        (["tiny", "--seeds", "2"], "one seed"),
        (["table-2", "--data", "tiny", "--seeds", "2", "--seed", "1"], "not both"),
        (["none-such"], "no preset is named"),
        (["tiny", "--method", "none-such"], "there are: wsddn, oicr"),
        (["--preset", "tiny", "--workers", "0"], "resources.num_workers"),
        (["--set", "seed=1"], "exactly one of preset"),
        (["--preset", "none-such"], "no preset is named"),
        (["--preset", "tiny", "--set", "objective.tau_0=-1"], "overrides.objective.tau_0"),
        (["tiny", "--set", "objective.tau_0=NaN"], "objective.tau_0: NaN is not a finite number"),
        (["tiny", "--set", "data.train_scales_px=[1e999]"], "data.train_scales_px: 1e999 is not a finite number"),
        (["tiny", "--set", f"data.train_scales_px={'[' * 100_000}"], "nested too deeply"),
        (["tiny", "--key", "ü"], "printable ASCII"),
        (["tiny", "--key", ""], "printable ASCII"),
    ],
)
def test_a_wrong_request_ends_with_two_and_a_reason(sdcn: Sdcn, arguments: list[str], said: str) -> None:
    done = sdcn("submit", *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"overrides": [1]}', "overrides: must be a JSON object"),
        ('{"preset": "tiny", "overrides": {"objective.tau_0": -Infinity}}', "-Infinity is not a finite number"),
    ],
)
def test_a_file_that_holds_no_spec_is_refused_with_a_sentence(
    sdcn: Sdcn, tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "spec.json"
    file.write_text(content)
    done = sdcn("submit", "--file", str(file), "--seeds", "1")
    assert (done.exit_code, said in done.output) == (2, True)


@pytest.mark.parametrize("url", ["http://:bad", "localhost:8000", "http://", "ftp://x"])
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    done = CliRunner().invoke(cli.app, ["jobs", "--url", url])
    assert (done.exit_code, "is no address of a service" in done.output) == (2, True)


def test_a_proxy_that_cannot_be_used_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://proxy.test")
    done = CliRunner().invoke(cli.app, ["jobs", "--url", "http://sdcn.test"])
    assert (done.exit_code, "the proxy that the environment names" in done.output) == (2, True)


def test_validate_tells_of_steps_and_warnings(sdcn: Sdcn, client: SdcnClient) -> None:
    done = sdcn("submit", "--preset", "tiny", "--set", "schedule.backbone.steps=0", "--validate")
    assert "valid: 16 optimizer steps" in done.stdout
    assert "warning: model.backbone" in done.stdout
    assert list(client.jobs()) == []


def test_watch_ends_with_the_results_and_zero(sdcn: Sdcn, client: SdcnClient, jobs: JobQueue) -> None:
    job = client.submit(TINY)
    jobs.attach_tracking(job.id, "run1")
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    done = sdcn("watch", job.id)
    assert done.exit_code == 0
    assert "100%" in done.stdout
    mean = next(line for line in done.stdout.splitlines() if "mean" in line)
    assert "50.0" in mean
    assert "62.5" in mean
    assert "http://mlflow.test/#/runs/run1" in done.stdout


def test_watch_ends_with_the_failure_and_one(sdcn: Sdcn, client: SdcnClient, jobs: JobQueue) -> None:
    job = client.submit(TINY)
    jobs.settle(start(jobs), Settlement.failed(FailureReason.BAD_INPUT, "images [/img] are broken"))
    done = sdcn("watch", job.id)
    assert done.exit_code == 1
    assert "failed (bad_input): images [/img] are broken" in done.stdout


def test_watch_as_json_prints_the_results_alone(sdcn: Sdcn, client: SdcnClient, jobs: JobQueue) -> None:
    job = client.submit(TINY)
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    assert json.loads(sdcn("watch", job.id, "--json").stdout) == WHOLE_RESULTS


def test_show_tells_of_attempts_and_links(sdcn: Sdcn, client: SdcnClient, jobs: JobQueue) -> None:
    job = client.submit(TINY)
    jobs.settle(start(jobs), Settlement.retry(FailureReason.INFRASTRUCTURE, "disk full"))
    done = sdcn("show", job.id)
    assert done.exit_code == 0
    assert "attempt 1" in done.stdout
    assert "disk full" in done.stdout
    assert json.loads(sdcn("show", job.id, "--json").stdout)["id"] == job.id


def test_jobs_lists_and_cancel_cancels(sdcn: Sdcn, client: SdcnClient) -> None:
    assert "no jobs" in sdcn("jobs").stdout
    ids = [client.submit(TINY).id for _ in range(3)]
    assert "is cancelled" in sdcn("cancel", ids[0]).stdout
    assert ids[0] in sdcn("jobs", "--state", "cancelled").stdout
    assert len(json.loads(sdcn("jobs", "--limit", "2", "--json").stdout)) == 2


def test_presets_are_listed(sdcn: Sdcn) -> None:
    listed = sdcn("presets").stdout
    assert "scenes_oicr" in listed
    kinds = {"table-2": "ablation", "fast_rcnn": "second_stage"}
    for name, kind in kinds.items():
        assert any(name in line and kind in line for line in listed.splitlines())


def test_what_follows_on_a_model_is_not_submitted_without_one(sdcn: Sdcn) -> None:
    done = sdcn("submit", "fast_rcnn")
    assert done.exit_code == 2
    assert "second-stage MODEL" in " ".join(done.output.split())


def test_an_unknown_job_is_a_wrong_request(sdcn: Sdcn) -> None:
    done = sdcn("show", "ffff")
    assert done.exit_code == 2
    assert "No such job" in done.output


def test_without_a_service_the_command_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDCN_URL", raising=False)
    unknown = CliRunner().invoke(cli.app, ["jobs", "--home", str(tmp_path)])
    assert (unknown.exit_code, "sdcn up" in unknown.output) == (3, True)
    gone = CliRunner().invoke(cli.app, ["jobs", "--url", "http://127.0.0.1:1"])
    assert (gone.exit_code, "sdcn up" in gone.output) == (3, True)


def test_a_reader_that_has_enough_is_no_error_to_tell_of(sdcn: Sdcn, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_answers: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(cli, "print_json_list", closed)
    done = sdcn("jobs", "--json")
    assert (done.exit_code, done.output) == (1, "")


def test_a_service_that_is_just_being_started_is_not_taken_down_halfway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "holder", lambda _home: None)
    with locked(tmp_path):
        done = CliRunner().invoke(cli.app, ["down", "--home", str(tmp_path)])
    assert (done.exit_code, "runs already" in done.output) == (3, True)
