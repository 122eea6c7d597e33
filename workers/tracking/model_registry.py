"""A trained detector in MLflow's registry: one version a training, of the registered model of those judged alike.

The alias `champion` stands for the version with the best mean AP, or of labels where nobody drew boxes.
"""

import fcntl
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from mlflow.entities import LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2
from mlflow.tracking import MlflowClient

from service.jobs.any_results import parse_results, training_in
from service.jobs.results import TrainResults
from workers.tracking import run_writer
from workers.tracking.registered_name import judged_by
from workers.tracking.run_writer import RESULTS_FILE, RunWriter
from workers.tracking.tracked_run import JOB_TAG, MODEL_TAG, WITHOUT_BOXES_TAG

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

log = structlog.get_logger()

MODEL_FILE = "model.onnx"
DESCRIPTION_FILE = "model.json"
CHAMPION = "champion"
MEAN_AP_TAG = "sdcn.mean_ap"
MEAN_COR_LOC_TAG = "sdcn.mean_corloc"
MEAN_CLASSIFICATION_AP_TAG = "sdcn.mean_classification_ap"
DATA_TAG = "sdcn.data_digest"
TRIES = 10
"""of a server that takes the run but not the model; after them the run is closed without"""
PASSING = frozenset(
    databricks_pb2.ErrorCode.Name(code)
    for code in (
        databricks_pb2.INTERNAL_ERROR,  # what the client also calls a server that is away
        databricks_pb2.TEMPORARILY_UNAVAILABLE,
        databricks_pb2.REQUEST_LIMIT_EXCEEDED,
        databricks_pb2.RESOURCE_EXHAUSTED,
        databricks_pb2.IO_ERROR,
    )
)


def register_model(run_path: Path, writer: RunWriter, run_id: str) -> None:
    """Register the model that a training has left, once however often this is called; the run's tag `sdcn.model` says
    as which version, or why not.

    Raises:
        MlflowException: the server is away, or could not take it now; call again later.
    """
    name, path = writer.tracked.registered_model, run_path / "artifacts" / MODEL_FILE
    if name is None or not path.exists():
        return
    if (size := path.stat().st_size) > run_writer.UPLOAD_LIMIT_BYTES:
        limit = run_writer.UPLOAD_LIMIT_BYTES // 2**20
        said = (
            f"not registered: {MODEL_FILE} of {size // 2**20} MiB stays in the job's folder: uploads end at {limit} MiB"
        )
    else:
        try:
            said = _Registration(run_path, writer, run_id, name).run()
        except MlflowException as error:
            failures = writer.state.registry_failures + 1
            writer.remember(registry_failures=failures)
            if error.error_code in PASSING and failures < TRIES:
                raise
            log.error("tracking.model_refused", job_id=writer.tracked.job_id, reason=str(error)[:500])
            said = f"not registered: {error}"
        except Exception as error:  # of the ONNX libraries: a file they cannot read
            log.exception("tracking.model_unreadable", job_id=writer.tracked.job_id)
            said = f"not registered: {MODEL_FILE} cannot be read: {error}"
    writer.set_tag(run_id, MODEL_TAG, said)


class _Registration:
    """Of one model; every step looks first whether an earlier call has done it."""

    def __init__(self, run_path: Path, writer: RunWriter, run_id: str, name: str) -> None:
        self._run_path = run_path
        self._artifacts = run_path / "artifacts"
        self._writer = writer
        self._client = writer.client
        self._run_id = run_id
        self._name = name

    def run(self) -> str:
        """The version, as `<name>/<number>`."""
        tags = self._tags()
        version = self._version() or self._create_version(tags)
        with _one_at_a_time(self._run_path.parent / ".models.lock"):
            self._crown(str(version.version), tags)
        return f"{self._name}/{version.version}"

    def _tags(self) -> dict[str, str]:
        tracked = self._writer.tracked
        tags = {JOB_TAG: tracked.job_id, DATA_TAG: tracked.data_digest or ""}
        if (results := self._results()) is not None:
            means = {
                MEAN_AP_TAG: results.trained.mean_ap,
                MEAN_COR_LOC_TAG: results.trained.mean_corloc,
                MEAN_CLASSIFICATION_AP_TAG: results.trained.mean_classification_ap,
            }
            tags |= {name: repr(mean) for name, mean in means.items() if mean is not None}
            if results.trained.without_boxes:
                tags[WITHOUT_BOXES_TAG] = results.trained.without_boxes_sentence()
        return tags

    def _results(self) -> TrainResults | None:
        try:
            found = parse_results(json.loads((self._artifacts / RESULTS_FILE).read_bytes()))
        except (FileNotFoundError, ValueError):  # there is none, or another version's
            return None
        return training_in(found)

    def _version(self) -> ModelVersion | None:
        found = self._client.search_model_versions(f"name = '{self._name}' AND run_id = '{self._run_id}'")
        return found[0] if found else None

    def _create_version(self, tags: Mapping[str, str]) -> ModelVersion:
        judged = judged_by(self._writer.tracked.parameters)
        description = "Trainings judged alike, by:\n\n" + "\n".join(f"- {path}: {judged[path]}" for path in judged)
        try:
            self._client.create_registered_model(self._name, description=description[: run_writer.TAG_LENGTH])
        except MlflowException as error:
            if error.error_code != databricks_pb2.ErrorCode.Name(databricks_pb2.RESOURCE_ALREADY_EXISTS):
                raise
        model_id, location = self._logged_model()
        return self._client.create_model_version(
            self._name, source=location, run_id=self._run_id, model_id=model_id, tags=dict(tags)
        )

    def _logged_model(self) -> tuple[str, str]:
        """The model among the run's own, and where it lies."""
        experiment_id = self._writer.destination.experiment_id()
        found = self._client.search_logged_models([experiment_id], f"source_run_id = '{self._run_id}'")
        model = found[0] if found else None
        if model is None:
            model = self._client.create_logged_model(
                experiment_id, name="detector", source_run_id=self._run_id, model_type="detector"
            )
            self._client.log_outputs(self._run_id, [LoggedModelOutput(model.model_id, step=0)])
        if model.status != "READY":
            with tempfile.TemporaryDirectory(prefix="sdcn-model-") as folder:
                self._save(Path(folder) / "model", model.model_id, model.artifact_location)
                self._client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
            self._client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id), str(model.artifact_location)

    def _save(self, folder: Path, model_id: str, location: str) -> None:
        """Write the model as MLflow lays models out: the graph, its signature, and what is needed to run it."""
        import mlflow.onnx  # it brings pandas: only a worker that registers pays for it
        import onnx
        from mlflow.models import Model

        graph = onnx.load(self._artifacts / MODEL_FILE)
        tracked, results = self._writer.tracked, self._results()
        description = self._artifacts / DESCRIPTION_FILE
        mlflow.onnx.save_model(
            graph,
            str(folder),
            mlflow_model=Model(artifact_path=location, run_id=self._run_id, model_uuid=model_id, model_id=model_id),
            signature=_signature(graph),
            metadata={
                "job_id": tracked.job_id,
                "config_digest": tracked.config_digest,
                "classes": [] if results is None else list(results.classes),
            },
            pip_requirements=[f"{package}=={installed_version(package)}" for package in ("onnx", "onnxruntime")],
            save_as_external_data=False,
            extra_files=[str(description)] if description.exists() else None,
        )

    def _crown(self, version: str, tags: Mapping[str, str]) -> None:
        """Make the version the champion if it is better than the one there is: of one name, they were judged alike."""
        champion = _champion(self._client, self._name)
        if champion is None or _worth(tags) > _worth(champion.tags):
            self._client.set_registered_model_alias(self._name, CHAMPION, version)


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    number = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if number is None else client.get_model_version(name, number)


def _worth(tags: Mapping[str, str]) -> float:
    """Mean AP, of labels where nobody drew boxes; what is unknown is worse than everything that is known, and no better
    than itself.
    """
    text = tags.get(MEAN_AP_TAG)
    if text is None and WITHOUT_BOXES_TAG in tags:
        text = tags.get(MEAN_CLASSIFICATION_AP_TAG)
    return float("-inf") if text is None else float(text)


def _signature(graph: Any) -> "ModelSignature":  # noqa: ANN401 - onnx has no types
    """The graph's own inputs and outputs; an axis without a fixed size is -1."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec
    from onnx import helper

    def schema(values: Any) -> Schema:  # noqa: ANN401
        return Schema(
            [
                TensorSpec(
                    helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
                    tuple(
                        axis.dim_value if axis.HasField("dim_value") else -1
                        for axis in value.type.tensor_type.shape.dim
                    ),
                    name=value.name,
                )
                for value in values
            ]
        )

    return ModelSignature(inputs=schema(graph.graph.input), outputs=schema(graph.graph.output))


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """Workers of this storage choose the champion one after another."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
