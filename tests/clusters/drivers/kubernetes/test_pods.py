"""The Pod of a run."""

import json
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from kubernetes.client import ApiClient

from clusters.drivers.base import ContainerSpec, RegistryLogin, RunAs
from clusters.drivers.kubernetes import pods
from tests.support.kubernetes import spec

LOGIN = RegistryLogin("ghcr.io", "ci", "hunter2")
UID = UUID("0b9bd1f7-3f0b-4b51-8d1f-8b1a4a4f2f10")


def made(of: ContainerSpec) -> dict[str, object]:
    names = pods.SecretNames(
        variables="run-7-env" if of.secrets else "", login="run-7-pull" if of.login else ""
    )
    return pods.manifest(UID, of, grace_seconds=10, secrets=names)


def everything(gpu: int, node: str) -> ContainerSpec:
    """Return a container that has all that one may have."""
    return spec(
        7, "train", "--fast", env={"A": "1"}, secrets={"B": "2"}, login=LOGIN, gpu=gpu, node=node,
        run_as=RunAs(1000, 1000), ephemeral_storage_mib=2048,
    )  # fmt: skip


def test_requests_equal_limits() -> None:
    container = made(spec(7, "train", cpu_milli=1500, ram_mib=2048, gpu=2))["spec"]["containers"][0]  # type: ignore[index]

    wanted = {"cpu": "1500m", "memory": "2048Mi", "nvidia.com/gpu": "2"}
    assert container["resources"] == {"requests": wanted, "limits": wanted}


def test_storage_is_limited_but_not_requested() -> None:
    container = made(spec(7, "train", ephemeral_storage_mib=2048))["spec"]["containers"][0]  # type: ignore[index]

    storage = {k: v["ephemeral-storage"] for k, v in container["resources"].items()}
    assert storage == {"requests": "0", "limits": "2048Mi"}
    assert "ephemeral-storage" not in repr(made(spec(7, "train")))


def test_every_mark_has_the_product_s_prefix() -> None:
    meta = made(spec(7, "train"))["metadata"]
    assert isinstance(meta, dict)

    assert len(meta["labels"]) == 3
    assert all(name.startswith("mlops-hypervisor/") for name in meta["labels"])


@pytest.mark.parametrize(
    ("run_as", "context"),
    [
        (None, {}),
        (RunAs(1000), {"runAsUser": 1000, "runAsNonRoot": True}),
        (RunAs(1000, 0), {"runAsUser": 1000, "runAsGroup": 0, "runAsNonRoot": True}),
        (RunAs(0, 0), {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False}),
    ],
)
def test_a_container_runs_as_the_given_user(run_as: RunAs | None, context: dict[str, Any]) -> None:
    container = made(spec(7, "train", run_as=run_as))["spec"]["containers"][0]  # type: ignore[index]

    user = {k: v for k, v in container["securityContext"].items() if k.startswith("runAs")}
    assert user == context


def test_a_secret_variable_is_a_reference() -> None:
    manifest = made(spec(7, "train", env={"A": "1"}, secrets={"TOKEN": "hunter2"}))
    (_, token) = manifest["spec"]["containers"][0]["env"]  # type: ignore[index]

    reference = {"secretKeyRef": {"name": "run-7-env", "key": "TOKEN"}}
    assert token == {"name": "TOKEN", "valueFrom": reference}
    assert "hunter2" not in json.dumps(manifest)
    assert manifest["spec"]["schedulingGates"] == [{"name": "mlops-hypervisor/secrets"}]  # type: ignore[index]


def test_a_pod_without_secrets_waits_for_nothing() -> None:
    assert "schedulingGates" not in made(spec(7, "train"))["spec"]  # type: ignore[operator]


def test_a_log_in_to_a_registry_is_a_reference() -> None:
    manifest = made(spec(7, "train", login=LOGIN))

    assert manifest["spec"]["imagePullSecrets"] == [{"name": "run-7-pull"}]  # type: ignore[index]
    assert "hunter2" not in json.dumps(manifest)
    assert manifest["spec"]["schedulingGates"] == [{"name": "mlops-hypervisor/secrets"}]  # type: ignore[index]


def test_a_description_of_a_container_has_no_secret() -> None:
    made = spec(7, secrets={"TOKEN": "hunter2"}, login=LOGIN)

    assert "hunter2" not in repr(made)


def test_a_pod_without_gpus_does_not_mention_any() -> None:
    assert "nvidia.com/gpu" not in repr(made(spec(7, "train")))


def test_a_container_has_no_privileges() -> None:
    pod = made(spec(7, "train"))["spec"]
    assert isinstance(pod, dict)

    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
    }
    assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["restartPolicy"] == "Never"
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(pod)


@pytest.fixture(params=[(0, ""), (2, ""), (0, "gpu-1")])
def manifest(request: pytest.FixtureRequest) -> dict[str, object]:
    """A Pod of which no part is left out, with or without GPUs and a node."""
    gpu, node = request.param
    given: dict[str, Any] = {"env": {"A": "1"}, "secrets": {"B": "2"}, "login": LOGIN}
    return made(spec(7, "train", "--fast", gpu=gpu, node=node, **given))


def test_the_official_client_knows_every_field(manifest: dict[str, object]) -> None:
    client = ApiClient()

    model = client.deserialize(SimpleNamespace(data=json.dumps(manifest)), "V1Pod")

    assert client.sanitize_for_serialization(model) == manifest


def test_the_schema_of_kubernetes_accepts_the_pod(manifest: dict[str, object]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="of the extra `lint`")

    kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_a_pod_is_bound_to_its_node_by_the_node_s_name() -> None:
    bound: dict[str, Any] = made(spec(7, "train", node="gpu-1.example.org"))["spec"]  # type: ignore[assignment]

    terms = bound["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    field = {"key": "metadata.name", "operator": "In", "values": ["gpu-1.example.org"]}
    assert terms == {"nodeSelectorTerms": [{"matchFields": [field]}]}
    assert pods.planned_node(bound) == "gpu-1.example.org"
    assert pods.planned_node(made(spec(7, "train"))["spec"]) == ""  # type: ignore[arg-type]
