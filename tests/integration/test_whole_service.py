"""The whole service on this machine, as `sdcn up` starts it: REST in, MLflow out, with real images and broken ones."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import psutil
import pytest
from mlflow.tracking import MlflowClient

from sdcn_core.config.data import VocSource
from service.client.client import SdcnClient
from service.client.errors import ApiProblem
from service.embedded.keeper import EmbeddedService
from service.jobs.answers import JobRead
from service.jobs.data_specs import DatasetSpec
from service.jobs.specs import AblationSpec, EvaluateSpec, JobSpec, Resources, TrainSpec
from service.jobs.states import DatasetState, FailureReason, JobState
from service.jobs.study_results import EvaluateResults
from service.run_files.checkpoints import kept_checkpoints
from tests.sdcn_core.data.voc_folders import an_annotation, an_object, write_image, write_voc
from tests.shared_material import shared_folder

pytestmark = pytest.mark.integration

README = Path(__file__).parents[2] / "README.md"

SHORT_ON_PHOTOGRAPHS = {
    "data.source.path": "voc12_tiny",
    "model.backbone.weights.path": "squeezenet_v1.1_notop.npz",
    "model.classifier.weights.path": "squeezenet_v1.1_notop.npz",
    "data.train_scales_px": [192],
    "evaluation.test_scales_px": [192],
    "evaluation.flip": False,
    "schedule.classifier.steps": 4,
    "schedule.apart_steps": 3,
    "schedule.loop_steps": 4,
    "schedule.decay_at_steps": [2],
    "schedule.report_every_steps": 2,
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `data` and `weights` that hold what the tests below name."""
    base = tmp_path_factory.mktemp("roots")
    for name in ("broken_image", "broken_annotation", "small"):
        for split in ("train", "test"):
            images = {f"{split}{number}": [an_object("cat" if number % 2 else "dog")] for number in range(4)}
            write_voc(base / "data" / name, images, split=split)
    broken = next((base / "data" / "broken_image" / "JPEGImages").iterdir())
    broken.write_bytes(broken.read_bytes()[:200])
    next((base / "data" / "broken_annotation" / "Annotations").iterdir()).write_text("<annotation><object>")
    bring_pets(base / "data" / "pets")
    shared = shared_folder()
    if shared is not None:
        shutil.copytree(shared / "data" / "voc12_tiny", base / "data" / "voc12_tiny")
        (base / "weights").symlink_to(shared / "weights")
    return base


def bring_pets(folder: Path) -> None:
    """Thirty images as docs/first-detector.md has them, and two new ones."""
    for number in range(32):
        split = "train" if number < 20 else "test" if number < 30 else "new"
        name = "dog" if number % 2 else "cat"
        place = folder / split / name if split != "new" else folder / split
        place.mkdir(parents=True, exist_ok=True)
        write_image(place / f"{number}.jpg", width=120, height=90, seed=number)
        if split == "test":
            (folder / "boxes").mkdir(exist_ok=True)
            (folder / "boxes" / f"{number}.xml").write_text(an_annotation(an_object(name), width=120, height=90))


@pytest.fixture(scope="module")
def service(roots: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedService]:
    """Up for all tests of this file. Nothing of it may be left when it stops."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SDCN_DATA_ROOT", str(roots / "data"))
        environment.setenv("SDCN_WEIGHTS_ROOT", str(roots / "weights"))
        with EmbeddedService(tmp_path_factory.mktemp("home"), tell=lambda *_: None) as service:
            mark = service.record.embedded_id
            assert _carrying(mark)
            yield service
    assert _carrying(mark) == []
    assert not Path(service.record.ray_folder).exists()


@pytest.fixture
def client(service: EmbeddedService) -> Iterator[SdcnClient]:
    with SdcnClient(service.record.url) as client:
        yield client


@pytest.fixture(scope="module")
def trained_by_two(service: EmbeddedService) -> JobRead:
    """A training by two processes, to its end."""
    with SdcnClient(service.record.url) as client:
        return ended(client, TrainSpec(preset="tiny", resources=Resources(num_workers=2, cpus_per_worker=1)))


def ended(client: SdcnClient, spec: JobSpec) -> JobRead:
    *_, last = client.watch(client.submit(spec).id, interval_s=0.2)
    return last


def voc(path: str, **overrides: object) -> TrainSpec:
    source = {"kind": "voc", "path": path, "train_split": "train", "test_split": "test"}
    return TrainSpec.model_validate({"preset": "tiny", "overrides": {"data.source": source, **overrides}})


def test_photographs_and_a_pretrained_backbone_train_through_rest(client: SdcnClient, service: EmbeddedService) -> None:
    if shared_folder() is None:
        pytest.skip("the folder shared/ with voc12_tiny and the SqueezeNet weights is not beside the project")
    job = ended(client, TrainSpec(preset="voc_squeezenet", export=False, overrides=SHORT_ON_PHOTOGRAPHS))  # type: ignore[arg-type]
    assert job.state is JobState.SUCCEEDED, job.failure
    results = client.results(job.id)
    assert results.classes == ("cat", "cow", "dog", "horse", "sheep")
    assert (results.trained.num_test_images, results.trained.num_train_images) == (25, 40)
    assert job.mlflow is not None
    metrics = MlflowClient(tracking_uri=service.record.mlflow_url).get_run(job.mlflow.run_id).data.metrics
    assert metrics["eval/mean_ap"] == pytest.approx(results.trained.mean_ap)
    assert metrics["eval/mean_corloc"] == pytest.approx(results.trained.mean_corloc)
    for name in results.classes:
        assert metrics[f"eval/ap/{name}"] == pytest.approx(results.trained.ap[name])
    assert {Path(artifact).name for artifact in job.artifacts} >= {"detections.png"}


def test_a_registered_folder_is_read_counted_and_trained_on_by_its_name(
    client: SdcnClient, service: EmbeddedService
) -> None:
    spec = DatasetSpec(name="small", source=VocSource(path="small", train_split="train"))
    *_, check = client.watch(client.add_dataset(spec).job_id, interval_s=0.2)
    assert check.state is JobState.SUCCEEDED, check.failure
    found = client.dataset("small")
    assert (found.state, found.problems) == (DatasetState.READY, ())
    assert found.counts is not None
    train, test = found.counts.splits
    assert (train.images, test.images, train.classes["cat"].images, train.objects) == (4, 4, 2, 4)
    by_name = {"data.source": {"kind": "registered", "name": "small"}}
    job = ended(client, TrainSpec.model_validate({"preset": "tiny", "export": False, "overrides": by_name}))
    assert job.state is JobState.SUCCEEDED, job.failure
    assert client.results(job.id).classes == ("cat", "dog")
    client.remove_dataset("small")


def test_a_registered_folder_with_a_broken_image_is_refused_and_so_are_jobs_on_it(client: SdcnClient) -> None:
    spec = DatasetSpec(name="broken", source=VocSource(path="broken_image", train_split="train"))
    *_, check = client.watch(client.add_dataset(spec).job_id, interval_s=0.2)
    assert check.state is JobState.SUCCEEDED, check.failure
    found = client.dataset("broken")
    assert found.state is DatasetState.REFUSED
    assert ".jpg is broken or cut off: replace it" in found.problems[0]
    by_name = {"data.source": {"kind": "registered", "name": "broken"}}
    with pytest.raises(ApiProblem, match="is broken or cut off"):
        client.submit(TrainSpec.model_validate({"preset": "tiny", "overrides": by_name}))


def test_two_workers_train_one_job_whose_model_is_exported(
    client: SdcnClient, service: EmbeddedService, trained_by_two: JobRead
) -> None:
    log = service.home / "runs" / trained_by_two.id / "attempt-1" / "log.txt"
    assert "PreemptionWatcher" not in log.read_text(), "nobody takes this machine away"
    assert trained_by_two.state is JobState.SUCCEEDED, trained_by_two.failure
    assert client.results(trained_by_two.id).trained.num_test_images == 8
    assert {Path(artifact).name for artifact in trained_by_two.artifacts} >= {"model.pt", "model.pt2", "model.onnx"}


def test_a_running_job_is_cancelled_with_its_checkpoint_kept_which_can_be_judged(
    client: SdcnClient, service: EmbeddedService
) -> None:
    overrides = {"schedule.loop_steps": 5000, "schedule.decay_at_steps": [4000], "evaluation.baselines": False}
    job = client.submit(TrainSpec(preset="tiny", overrides=overrides))  # type: ignore[arg-type]
    for seen in client.watch(job.id, interval_s=0.2):
        if seen.progress is not None and seen.progress.stage == "loop" and seen.desired == "run":
            client.cancel(job.id)
        last = seen
    assert last.state is JobState.CANCELLED
    kept = kept_checkpoints(service.home / "runs" / job.id)
    judged = ended(client, EvaluateSpec(model=job.id, checkpoint="newest", ap_split="train"))
    assert judged.state is JobState.SUCCEEDED, judged.failure
    found = client.results(judged.id)
    assert isinstance(found, EvaluateResults)
    assert (found.checkpoint, found.ap_split) == (max(kept), "train")
    assert found.judgement.num_train_images == 12
    written = service.home / "runs" / judged.id / "artifacts" / "results.json"
    assert json.loads(written.read_text()) == found.model_dump(mode="json")


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("absent", "absent"),
        ("broken_image", ".jpg"),
        ("broken_annotation", ".xml"),
    ],
)
def test_broken_data_fails_the_job_with_a_sentence_that_names_the_file(
    client: SdcnClient, path: str, named: str
) -> None:
    job = ended(client, voc(path))
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.reason is FailureReason.BAD_INPUT
    assert named in job.failure.message
    assert "Traceback" not in job.failure.message
    assert len(job.attempts) == 1


def test_an_image_without_proposals_fails_the_job_and_names_the_way_out(client: SdcnClient) -> None:
    job = ended(client, voc("small", **{"data.proposals.min_side_px": 4000}))
    assert job.failure is not None
    assert "lower data.proposals.min_side_px" in job.failure.message


def test_missing_weights_fail_the_job_and_are_named(client: SdcnClient) -> None:
    overrides = {
        **SHORT_ON_PHOTOGRAPHS,
        "data.source": {"kind": "voc", "path": "small", "train_split": "train", "test_split": "test"},
        "model.backbone.weights.path": "absent.npz",
    }
    del overrides["data.source.path"]
    job = ended(client, TrainSpec(preset="voc_squeezenet", overrides=overrides))  # type: ignore[arg-type]
    assert job.failure is not None
    assert job.failure.reason is FailureReason.BAD_INPUT
    assert "absent.npz" in job.failure.message


def test_the_way_to_a_first_detector_can_be_gone_as_it_is_written(
    client: SdcnClient, service: EmbeddedService, roots: Path, tmp_path: Path
) -> None:
    document = (README.parent / "docs" / "first-detector.md").read_text()
    commands = [
        line.split("  #")[0]
        for block in re.findall(r"```sh\n(.*?)```", document, re.DOTALL)
        for line in block.splitlines()
    ]
    shutil.copy(next((roots / "data" / "pets" / "new").iterdir()), tmp_path / "new.jpg")
    short = {name: value for name, value in SHORT_ON_PHOTOGRAPHS.items() if not name.endswith(".path")}
    short["model.backbone.weights"] = short["model.classifier.weights"] = None
    for command in commands:
        if command.startswith("sdcn submit"):
            command += "".join(f" --set '{name}={json.dumps(value)}'" for name, value in short.items())
        models = list(client.models())
        typed(command.replace("JOB", models[0].id if models else "-"), service, tmp_path)
    trained = client.model(next(client.models()).id)
    assert (trained.data_set, trained.classes) == ("pets", ("cat", "dog"))
    assert trained.mean_ap is not None
    assert (tmp_path / "detector" / "model.onnx").exists()


def typed(command: str, service: EmbeddedService, here: Path) -> None:
    """Typed in a shell, in this folder; it prints something and ends well."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SDCN_URL": service.record.url,
        "PYTHONPATH": str(README.parent),
    }
    ran = subprocess.run(
        command, shell=True, cwd=here, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert ran.returncode == 0, f"{command}: {ran.stdout[-500:]} {ran.stderr[-500:]}"
    assert ran.stdout


def test_every_call_of_the_readme_does_what_it_says(
    client: SdcnClient, service: EmbeddedService, trained_by_two: JobRead, tmp_path: Path
) -> None:
    study = ended(client, AblationSpec(preset="tiny", study="oicr-against-sdcn"))
    assert study.state is JobState.SUCCEEDED, study.failure
    scene = next((service.home / "cache").rglob("JPEGImages/*"))
    cv2.imwrite(str(tmp_path / "photo.png"), cv2.imread(str(scene)))
    for command in readme_calls():
        job = job_for(command, client, trained_by_two)
        command = (
            command.replace("JOB", job.id)
            .replace("STUDY", study.id)
            .replace("localhost:8000", service.record.url.removeprefix("http://"))
        )
        typed(command.replace("scenes", "tiny").replace("curl -s", "curl -sf"), service, tmp_path)
        end_what_was_begun(client)


def end_what_was_begun(client: SdcnClient) -> None:
    """Nobody waits for the studies that the calls submit; trained beside the next calls, they would slow them."""
    for job in client.jobs():
        if not job.state.is_terminal:
            with suppress(ApiProblem):  # it has ended meanwhile
                client.cancel(job.id, force=True)


def job_for(command: str, client: SdcnClient, done: JobRead) -> JobRead:
    """A job of which the command can be asked; the one that is done, unless it must be another."""
    if not any(word in command for word in ("cancel", "pause", "resume", "retry", "priority")):
        return done
    job = client.submit(TrainSpec(preset="tiny"))
    if "retry" in command:
        client.cancel(job.id)
        return reached(JobState.CANCELLED, client, job)
    if "resume" in command or "priority" in command:
        client.pause(job.id)
        return reached(JobState.PAUSED, client, job)
    return job


def reached(state: JobState, client: SdcnClient, job: JobRead) -> JobRead:
    return next(seen for seen in client.watch(job.id, interval_s=0.2) if seen.state is state)


def readme_calls() -> list[str]:
    """The commands of the section on the main calls, one each, without comments."""
    section = README.read_text().split("## The main calls")[1].split("## ")[0]
    block = section.split("```sh\n")[1].split("```")[0].replace("\\\n", " ")
    lines = [line.split("  #")[0].strip() for line in block.splitlines()]
    return [command for line in lines for command in line.split("; ") if command]


def _carrying(mark: str) -> list[int]:
    """Processes, but this one, whose environment holds the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and mark in process.environ().values():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
