"""A trained detector in the registry of a real MLflow."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from sdcn_core.config.presets import preset
from service.jobs.results import TrainResults
from service.jobs.second_stage_results import PseudoLabelsFound, SecondStageResults
from service.jobs.specs import SecondStageSpec
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from tests.workers.tracking.judged import results, results_without_boxes
from workers.attempt_folder import RunFolder
from workers.errors import TrackingUnavailable

pytest.importorskip("mlflow")
pytest.importorskip("onnx")
import onnx
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE
from mlflow.tracking import MlflowClient

from workers.tracking import model_registry
from workers.tracking.delivery import Destination, deliver
from workers.tracking.mlflow_log import QueueJobs
from workers.tracking.registered_name import registered_name
from workers.tracking.tracked_run import TrackingFiles, describe

pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")  # MLflow, of itself


def write_detector(path: Path) -> None:
    """A graph with a detector's inputs and outputs."""
    tensor = onnx.helper.make_tensor_value_info
    image = tensor("image", onnx.TensorProto.FLOAT, [1, 3, "height", "width"])
    proposals = tensor("proposals", onnx.TensorProto.FLOAT, ["n", 4])
    scores = tensor("scores", onnx.TensorProto.FLOAT, ["n", 4])
    node = onnx.helper.make_node("Identity", ["proposals"], ["scores"])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "detector", [image, proposals], [scores])), path)


class Trainings:
    """Trainings that have succeeded, on a data set of their own; `name` is what they are registered as."""

    def __init__(
        self, submit: Callable[..., Job], queue: JobQueue, home: Path, destination: Destination, data: str
    ) -> None:
        self.submit, self.queue, self.home, self.destination, self.data = submit, queue, home, destination, data
        self.client: MlflowClient = destination.client
        self.name = registered_name(preset("tiny").with_overrides({"data.source": {"kind": "voc", "path": data}}))

    def train(self, found: float | TrainResults | None, **overrides: object) -> RunFolder:
        """One that left a model and what it found, or of which the mean AP is known alone; not delivered yet."""
        self.submit(overrides={"data.source": {"kind": "voc", "path": self.data}, **overrides})
        return self.leave(results(found) if isinstance(found, float) else found)

    def teach(self, student: TrainResults | None) -> RunFolder:
        """A second stage that left a model, taught by some training; not delivered yet."""
        teacher = preset("tiny").with_overrides({"data.source": {"kind": "voc", "path": self.data}})
        spec = SecondStageSpec(model="abc", train=student is not None).resolve().taught_by(teacher)
        self.queue.enqueue(spec, idempotency_key=None, body_digest="")
        labels = PseudoLabelsFound(model_sha256="0" * 64, images=1, without_boxes=0, boxes={"disc": 1})
        return self.leave(
            SecondStageResults(model="abc", classes=("disc",), pseudo_labels=labels, teacher=None, student=student)
        )

    def leave(self, found: BaseModel | None) -> RunFolder:
        claim = self.queue.claim("worker-a", lease_s=60)
        assert claim is not None
        run = RunFolder(self.home, claim.job_id)
        describe(claim, run.path)
        run.artifacts.mkdir(parents=True)
        write_detector(run.artifacts / "model.onnx")
        if found is not None:
            (run.artifacts / "results.json").write_text(found.model_dump_json())
        self.queue.start(claim)
        self.queue.settle(claim, Settlement.succeeded({}))
        return run

    def deliver(self, run: RunFolder) -> Run:
        assert deliver(run.path, self.destination, QueueJobs(self.queue))
        run_id = self.queue.get(run.path.name).tracking_run_id
        assert run_id is not None
        return self.client.get_run(run_id)

    def versions(self) -> list[ModelVersion]:
        return sorted(
            self.client.search_model_versions(f"name = '{self.name}'"), key=lambda version: int(version.version)
        )

    def champion(self, name: str | None = None) -> str:
        return str(self.client.get_model_version_by_alias(name or self.name, "champion").version)


@pytest.fixture
def trainings(submit: Callable[..., Job], queue: JobQueue, tmp_path: Path, destination: Destination) -> Trainings:
    return Trainings(submit, queue, tmp_path / "home", destination, tmp_path.name)


def test_a_trained_model_becomes_a_version_that_tells_its_origin(trainings: Trainings) -> None:
    run = trainings.train(0.4)
    recorded = trainings.deliver(run)
    (version,) = trainings.versions()
    assert version.run_id == recorded.info.run_id
    assert version.tags["sdcn.job_id"] == run.path.name
    assert version.tags["sdcn.mean_ap"] == "0.4"
    assert recorded.data.tags["sdcn.model"] == f"{trainings.name}/1"
    assert trainings.champion() == "1"


def test_the_registered_model_is_onnx_with_a_signature(trainings: Trainings, tmp_path: Path) -> None:
    from mlflow.models import Model

    trainings.deliver(trainings.train(0.4))
    (version,) = trainings.versions()
    folder = Path(version.source.removeprefix("file://"))
    model = Model.load(folder)
    assert "onnx" in model.flavors
    assert {spec.name: spec.shape for spec in model.get_input_schema()} == {
        "image": (1, 3, -1, -1),
        "proposals": (-1, 4),
    }
    assert model.metadata["classes"] == ["disc"]
    assert not list(folder.rglob("*.pkl"))


def test_a_better_model_becomes_champion_and_a_worse_or_equal_one_does_not(trainings: Trainings) -> None:
    champions = []
    for mean_ap in (0.4, 0.5, 0.3, 0.5, None):
        trainings.deliver(trainings.train(mean_ap))
        champions.append(trainings.champion())
    assert champions == ["1", "2", "2", "2", "2"]


def test_where_nobody_drew_boxes_the_best_by_labels_is_champion_and_no_ap_is_made_up(trainings: Trainings) -> None:
    champions = []
    for classification_ap in (0.4, 0.6, 0.5):
        trainings.deliver(trainings.train(results_without_boxes(classification_ap)))
        champions.append(trainings.champion())
    assert champions == ["1", "2", "2"]
    tags = trainings.versions()[1].tags
    assert "sdcn.mean_ap" not in tags
    assert (tags["sdcn.mean_classification_ap"], "no boxes" in tags["sdcn.without_boxes"]) == ("0.6", True)


def test_labels_rank_no_model_where_boxes_are_known(trainings: Trainings) -> None:
    trainings.deliver(trainings.train(0.3))
    unjudged = results(0.3).trained.model_copy(update={"mean_ap": None, "mean_classification_ap": 0.9})
    trainings.deliver(trainings.train(TrainResults(classes=("disc",), trained=unjudged)))
    assert trainings.champion() == "1"


def test_what_a_second_stage_trains_is_registered_by_its_own_figures(trainings: Trainings) -> None:
    recorded = trainings.deliver(trainings.teach(results(0.7)))
    name, _, number = recorded.data.tags["sdcn.model"].partition("/")
    assert name.startswith(f"sdcn-{trainings.data}-")
    version = trainings.client.get_model_version(name, number)
    assert version.tags["sdcn.mean_ap"] == "0.7"
    assert trainings.champion(name) == number


def test_pseudo_labels_alone_are_no_model_to_register(trainings: Trainings) -> None:
    assert "sdcn.model" not in trainings.deliver(trainings.teach(None)).data.tags


@pytest.mark.parametrize(
    "otherwise",
    [{"data.source.test_split": "val"}, {"evaluation.match_iou": 0.1}, {"evaluation.ap": "area"}],
    ids=lambda overrides: next(iter(overrides)),
)
def test_a_training_that_was_judged_otherwise_has_a_champion_of_its_own(
    trainings: Trainings, otherwise: dict[str, object]
) -> None:
    trainings.deliver(trainings.train(0.03))
    recorded = trainings.deliver(trainings.train(0.9, **otherwise))
    name, _, version = recorded.data.tags["sdcn.model"].partition("/")
    assert name != trainings.name
    assert trainings.champion(name) == version
    trainings.deliver(trainings.train(0.04))
    assert trainings.champion() == "2", "among those judged as the first was"


def test_a_registered_model_says_how_its_versions_were_judged(trainings: Trainings) -> None:
    trainings.deliver(trainings.train(0.4))
    description = trainings.client.get_registered_model(trainings.name).description
    assert f"- data.source.path: {trainings.data}" in description
    assert "- evaluation.match_iou: 0.5" in description


def test_a_delivery_that_was_forgotten_registers_no_second_version(trainings: Trainings) -> None:
    run = trainings.train(0.4)
    trainings.deliver(run)
    files = TrackingFiles(run.path)
    files.delivered.rename(files.run)
    files.state.unlink()
    trainings.deliver(run)
    assert len(trainings.versions()) == 1


def test_a_registration_that_was_cut_off_is_gone_on_with(trainings: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainings.train(0.4)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", refuse(TEMPORARILY_UNAVAILABLE))
        with pytest.raises(TrackingUnavailable):
            trainings.deliver(run)
    recorded = trainings.deliver(run)
    assert len(trainings.versions()) == 1
    models = trainings.client.search_logged_models(
        [recorded.info.experiment_id], f"source_run_id = '{recorded.info.run_id}'"
    )
    assert [model.status for model in models] == ["READY"]


def refuse(code: int) -> Callable[..., object]:
    def call(*_arguments: object, **_keywords: object) -> object:
        raise MlflowException("no", error_code=code)

    return call


@pytest.mark.parametrize(("code", "tries"), [(PERMISSION_DENIED, 1), (TEMPORARILY_UNAVAILABLE, model_registry.TRIES)])
def test_a_server_that_takes_no_models_still_closes_the_run(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch, code: int, tries: int
) -> None:
    run = trainings.train(0.4)
    monkeypatch.setattr(MlflowClient, "create_registered_model", refuse(code))
    for _ in range(tries - 1):
        with pytest.raises(TrackingUnavailable):
            trainings.deliver(run)
    assert trainings.deliver(run).data.tags["sdcn.model"] == "not registered: no"


def test_a_model_that_is_too_large_says_so(trainings: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.tracking.run_writer.UPLOAD_LIMIT_BYTES", 10)
    assert trainings.deliver(trainings.train(0.4)).data.tags["sdcn.model"].startswith("not registered: model.onnx of")
    assert trainings.versions() == []


def test_a_file_that_is_no_model_says_so(trainings: Trainings) -> None:
    run = trainings.train(0.4)
    (run.artifacts / "model.onnx").write_text("no model")
    assert "cannot be read" in trainings.deliver(run).data.tags["sdcn.model"]


def test_a_training_without_an_export_is_not_registered(trainings: Trainings) -> None:
    run = trainings.train(0.4)
    (run.artifacts / "model.onnx").unlink()
    assert "sdcn.model" not in trainings.deliver(run).data.tags
