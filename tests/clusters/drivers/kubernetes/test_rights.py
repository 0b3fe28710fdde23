"""The rights in the documentation are sufficient, and each of them is needed."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from clusters.drivers.base import DriverError, Phase
from clusters.drivers.kubernetes import events
from clusters.drivers.kubernetes.driver import KubernetesDriver
from tests.support.docker_engine import wait_until
from tests.support.kube_api import Account, KubeCluster
from tests.support.kube_api.rbac import Attributes
from tests.support.kube_api.status import ApiError
from tests.support.kubernetes import NAMESPACE, account, manifests, spec, uid, without

NEEDED = [
    ("get", "namespaces"), ("create", "pods"), ("list", "pods"), ("watch", "pods"),
    ("get", "pods/log"), ("patch", "pods"), ("delete", "pods"), ("get", "pods"),
    ("create", "secrets"),
]  # fmt: skip


def everything(kube: KubeCluster, driver: KubernetesDriver) -> None:
    """Call every verb of the driver once."""
    driver.probe()
    kube.pulling = True
    driver.start(spec(7, "sleep", "60", secrets={"TOKEN": "t"}), timezone.now())

    def phase() -> Phase:
        return driver.observe(timezone.now())[0].phase

    wait_until(lambda: kube.events.select(NAMESPACE, "reason=Pulling"), "its node pulls")
    driver.observe(timezone.now() + timedelta(seconds=events.FIRST_S))
    kube.pulling = False
    wait_until(lambda: phase() is Phase.RUNNING, "it runs", seconds=10)
    changes = driver.watch()
    next(changes)
    wait_until(lambda: watched(kube) >= {"/api/v1/nodes", "/api/v1/pods"}, "what it follows")
    list(driver.logs(uid(7)))
    driver.stop(uid(7), 1, timezone.now())
    next(changes)
    wait_until(lambda: phase() is Phase.EXITED, "it has ended", seconds=10)
    driver.remove(uid(7))
    driver.mark(uid(1), instead_of=[])
    driver.mark(uid(2), instead_of=[uid(1)])


def watched(kube: KubeCluster) -> set[str]:
    return {r.path for r in kube.server.requests if r.attributes.verb == "watch"}


def test_the_documented_rights_are_enough(kube: KubeCluster, driver: KubernetesDriver) -> None:
    everything(kube, driver)

    assert driver.observe(timezone.now()) == []


@pytest.mark.parametrize(("verb", "resource"), NEEDED)
def test_each_missing_right_is_named(
    kube: KubeCluster, driver: KubernetesDriver, verb: str, resource: str
) -> None:
    granted = kube.accounts[0]
    kube.accounts[0] = Account(granted.name, granted.token, without(granted, verb, resource))

    with pytest.raises(DriverError, match=f"right to `{verb}` `{resource}`"):
        everything(kube, driver)


@pytest.mark.parametrize("verb", ["get", "create", "update"])
def test_without_the_right_to_its_marker_the_driver_works_and_the_probe_warns(
    kube: KubeCluster, driver: KubernetesDriver, verb: str
) -> None:
    granted = kube.accounts[0]
    kube.accounts[0] = Account(granted.name, granted.token, without(granted, verb, "configmaps"))

    everything(kube, driver)

    assert any(f"`{verb}` `configmaps`" in warning for warning in driver.probe().warnings)
    assert driver.markers() == {"get": None, "create": frozenset(), "update": {uid(1)}}[verb]


def test_the_probe_warns_without_the_right_to_create_secrets(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    granted = kube.accounts[0]
    kube.accounts[0] = Account(granted.name, granted.token, without(granted, "create", "secrets"))

    (warning,) = driver.probe().warnings

    assert "`create` `secrets`. Without it, no deployment can start that has a secret" in warning


def test_every_right_is_used(kube: KubeCluster, driver: KubernetesDriver) -> None:
    everything(kube, driver)

    used = {(r.attributes.verb, r.attributes.resource) for r in kube.server.requests}
    granted = {(v, res) for rule in account().rules for v in rule.verbs for res in rule.resources}
    everybodys = {("get", "version"), ("create", "selfsubjectaccessreviews")}
    assert used - everybodys == granted


def test_a_right_that_is_not_granted_is_denied() -> None:
    documented = account()

    for request in (
        Attributes("create", "pods", "kube-system", None),
        Attributes("get", "secrets", NAMESPACE, "x"),
        Attributes("create", "pods/exec", NAMESPACE, "x"),
        Attributes("update", "pods", NAMESPACE, "x"),
        Attributes("get", "namespaces", "default", "default"),
        Attributes("delete", "nodes", None, "node-1"),
    ):
        with pytest.raises(ApiError):
            documented.check(request)


def test_the_manifest_binds_each_role_to_the_account() -> None:
    by_kind = {d["kind"]: d for d in manifests()}
    subject = {"kind": "ServiceAccount", "name": "hypervisor", "namespace": NAMESPACE}

    for role, binding in (("Role", "RoleBinding"), ("ClusterRole", "ClusterRoleBinding")):
        bound = by_kind[binding]
        assert bound["roleRef"]["kind"] == role
        assert bound["roleRef"]["name"] == by_kind[role]["metadata"]["name"]
        assert bound["subjects"] == [subject]
    assert by_kind["ServiceAccount"]["metadata"] == {"name": "hypervisor", "namespace": NAMESPACE}


def test_the_manifest_creates_the_namespace_first() -> None:
    made = set()
    for document in manifests():
        if document["kind"] == "Namespace":
            made.add(document["metadata"]["name"])
        elif "namespace" in document["metadata"]:
            assert document["metadata"]["namespace"] in made


@pytest.mark.parametrize("document", manifests(), ids=lambda d: d["kind"])
def test_the_schema_of_kubernetes_accepts_the_manifest(document: dict[str, Any]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="of the extra `lint`")

    kubernetes_validate.validate(document, "1.33", strict=True)
