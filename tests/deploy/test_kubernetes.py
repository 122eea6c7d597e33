"""The manifests against Kubernetes' own schemas, and against what the processes read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from workers.predictor.settings import PredictorSettings
from workers.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
RAY_CLUSTER = {
    "spec": {"headGroupSpec", "workerGroupSpecs"},
    "headGroupSpec": {"serviceType", "rayStartParams", "template"},
    "workerGroupSpecs": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}
"""fields of KubeRay's RayCluster, version v1, that are used here"""


def manifests() -> list[dict[str, Any]]:
    return [told for name in KUSTOMIZATION["resources"] for told in yaml.safe_load_all((FOLDER / name).read_text())]


def named(told: dict[str, Any]) -> str:
    return f"{told['kind']}-{told['metadata']['name']}"


@pytest.mark.parametrize("told", [told for told in manifests() if told["kind"] != "RayCluster"], ids=named)
def test_a_manifest_is_as_kubernetes_says(told: dict[str, Any]) -> None:
    kubernetes_validate.validate(told, kubernetes_validate.latest_version(), strict=True)


def test_a_manifest_with_a_field_that_is_none_is_refused() -> None:
    told = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}, "spec": {"selectors": {}}}
    with pytest.raises(kubernetes_validate.ValidationError, match="selectors"):
        kubernetes_validate.validate(told, kubernetes_validate.latest_version(), strict=True)


def test_the_ray_cluster_has_kuberays_fields_and_valid_pods() -> None:
    (cluster,) = (told for told in manifests() if told["kind"] == "RayCluster")
    assert cluster["apiVersion"] == "ray.io/v1"
    head, groups = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
    assert cluster["spec"].keys() == RAY_CLUSTER["spec"]
    assert head.keys() == RAY_CLUSTER["headGroupSpec"]
    for group in (head, *groups):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node"}, "spec": group["template"]["spec"]}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    for group in groups:
        assert group.keys() == RAY_CLUSTER["workerGroupSpecs"]


def test_every_file_is_applied() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}


def test_every_image_is_one_that_is_built_or_is_the_databases() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE))
    images = {container["image"] for pod in pods() for container in containers(pod)}
    assert images == {"postgres:18", *(image["name"] for image in KUSTOMIZATION["images"])}
    assert {image.removeprefix("sdcn-") for image in images if image.startswith("sdcn-")} <= targets


def test_every_variable_is_one_that_the_process_reads() -> None:
    fields = {f"SDCN_{name.upper()}" for name in {**WorkerSettings.model_fields, **PredictorSettings.model_fields}}
    given = {
        variable["name"] for pod in pods() for container in containers(pod) for variable in container.get("env", [])
    }
    assert {name for name in given if name.startswith("SDCN_")} <= fields | {"SDCN_SECRETS"}


def test_every_secret_is_one_that_make_secrets_writes_and_none_is_in_an_environment() -> None:
    written = re.search(r"for name in ([\w ]+);", (ROOT / "Makefile").read_text())
    assert written is not None
    keys = {
        item["key"]
        for pod in pods()
        for volume in pod["volumes"]
        if "secret" in volume
        for item in volume["secret"]["items"]
    }
    assert keys == {f"sdcn_{name}" for name in written[1].split()}
    assert [v for pod in pods() for c in containers(pod) for v in c.get("env", []) if "valueFrom" in v] == []


def test_every_host_that_a_container_is_told_is_a_service() -> None:
    services = {told["metadata"]["name"] for told in manifests() if told["kind"] == "Service"}
    services |= {f"{told['metadata']['name']}-head-svc" for told in manifests() if told["kind"] == "RayCluster"}
    values = [v["value"] for pod in pods() for c in containers(pod) for v in c.get("env", []) if "value" in v]
    hosts = {host for value in values for host in re.findall(r"(?:://(?:\w+@)?|^)([a-z][\w-]*)(?=:\d|/)", value)}
    assert hosts == services - {"api"}


def test_no_container_may_do_more_than_it_must() -> None:
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        for container in containers(pod):
            assert container.get("resources") or container["name"] == "migrate"
            if container["image"] != "postgres:18":
                assert pod["securityContext"]["runAsNonRoot"] is True
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                }


def test_both_ways_of_deploying_make_mlflows_database_alike() -> None:
    script = (ROOT / "deploy" / "create-mlflow-database.sql").read_text().splitlines()[-1]
    (told,) = (told for told in manifests() if told["kind"] == "ConfigMap")
    assert told["data"] == {"create-mlflow-database.sql": script}


def pods() -> Iterator[dict[str, Any]]:
    for told in manifests():
        if told["kind"] in {"Deployment", "StatefulSet"}:
            yield told["spec"]["template"]["spec"]
        elif told["kind"] == "RayCluster":
            for group in (told["spec"]["headGroupSpec"], *told["spec"]["workerGroupSpecs"]):
                yield group["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]
