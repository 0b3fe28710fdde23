"""The Secrets of a Pod: they never outlive it, and only its container and kubelet use them."""

import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from clusters.drivers.base import Cause, DriverError, Observation, Phase, RegistryLogin
from clusters.drivers.kubernetes import pods
from clusters.drivers.kubernetes.driver import KubernetesDriver
from clusters.models import Connection
from tests.support.docker_engine import wait_until
from tests.support.kube_api import Account, KubeCluster
from tests.support.kube_api.status import ApiError
from tests.support.kubernetes import IMAGE, NAMESPACE, spec, uid, without

Observed = Callable[..., Observation]

VALUES = {"TOKEN": "hunter2 $(HOME) $$ ümläut", "LINES": "x\ny\n", "EMPTY": ""}
SLEEPS = ("sleep", "600")


def start(driver: KubernetesDriver, *command: str, **rest: Any) -> None:
    driver.start(spec(7, *command, secrets=VALUES, **rest), timezone.now())


def start_refused(driver: KubernetesDriver) -> DriverError:
    with pytest.raises(DriverError) as refused:
        start(driver, *SLEEPS)
    return refused.value


def there(kube: KubeCluster) -> tuple[int, int]:
    """Return how many Pods and Secrets there are."""
    return len(kube.store.all()[0]), len(kube.secrets.all())


def test_the_container_has_the_values_and_its_pod_only_their_names(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    start(driver, "printenv", *VALUES, env={"PLAIN": "1"})
    observed(7, exit_code=0)

    assert b"".join(driver.logs(uid(7))).decode() == "".join(f"{v}\n" for v in VALUES.values())
    shown = json.dumps([kube.store.all()[0], kube.events.select(NAMESPACE, "")])
    assert "hunter2" not in shown


def test_its_pod_owns_the_secret_from_its_beginning(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection
) -> None:
    start(driver, *SLEEPS)

    (secret,), ((pod,), _) = kube.secrets.all(), kube.store.all()
    meta = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    assert secret["metadata"]["ownerReferences"] == [owner]
    assert secret["metadata"]["labels"][pods.CONNECTION] == str(connection.uid)
    assert secret["immutable"] is True
    (posted,) = [r for r in kube.server.requests if r.path.endswith("/secrets")]
    assert posted.body["metadata"]["ownerReferences"] == [owner]


def test_a_removed_container_leaves_no_secret(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    start(driver, "true")
    observed(7, phase=Phase.EXITED)
    assert there(kube) == (1, 1)

    driver.remove(uid(7))

    assert there(kube) == (0, 0)


# --- Interrupted starts ---------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("method", "part"), [("POST", "/secrets"), ("PATCH", "/pods")])
def test_a_start_that_was_interrupted_is_started_anew(
    kube: KubeCluster,
    driver: KubernetesDriver,
    observed: Observed,
    method: str,
    part: str,
    after: bool,
) -> None:
    kube.server.fail_next(method, part, None, after=after)
    assert start_refused(driver).cause is Cause.UNREACHABLE
    released = (method, after) == ("PATCH", True)

    left = driver.observe(timezone.now())

    assert bool(left) is released
    assert there(kube) == ((1, 1) if released else (0, 0))
    start(driver, *SLEEPS)
    observed(7, phase=Phase.RUNNING)
    assert there(kube) == (1, 1)


def test_no_node_gets_a_pod_whose_secret_is_missing(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.server.fail_next("POST", "/secrets", None)
    start_refused(driver)

    driver.start(spec(8, "true"), timezone.now())
    wait_until(
        lambda: any("nodeName" in pod["spec"] for pod in kube.store.all()[0]),
        "the other has a node",
    )

    by_run = {pod["metadata"]["labels"][pods.RUN]: pod for pod in kube.store.all()[0]}
    assert "nodeName" not in by_run["7"]["spec"]
    assert by_run["7"]["status"]["conditions"][0]["reason"] == "SchedulingGated"


def test_a_new_start_does_not_lose_its_secret_to_the_collection_of_the_former(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    kube.server.fail_next("PATCH", "/pods", None)
    start_refused(driver)
    kube.secrets.collects = False
    driver.observe(timezone.now())
    kube.pulling = True
    start(driver, *SLEEPS)
    assert there(kube) == (1, 2)

    kube.secrets.collects = True
    assert there(kube) == (1, 1)
    kube.pulling = False

    observed(7, phase=Phase.RUNNING)


def test_a_pod_that_another_client_keeps_is_reported_until_it_is_gone(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection
) -> None:
    kube.server.fail_next("POST", "/secrets", None)
    start_refused(driver)
    key = NAMESPACE, pods.name_of(connection.uid, uid(7))
    both = [pods.OBSERVED, "example.org/backup"]
    kube.store.update(key, lambda pod: pod["metadata"].update(finalizers=both))

    seen = [driver.observe(timezone.now()) for _ in range(2)]

    assert [[o.phase for o in found] for found in seen] == [[Phase.EXITED]] * 2
    assert kube.store.get(key)["metadata"]["finalizers"] == ["example.org/backup"]


def test_a_pod_that_changes_while_it_is_discarded_is_kept(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.server.fail_next("POST", "/secrets", None)
    start_refused(driver)
    conflict = ApiError(409, "Conflict", "the resourceVersion in the precondition does not match")
    kube.server.fail_next("DELETE", "/pods", conflict)

    (kept,) = driver.observe(timezone.now())

    assert kept.phase is Phase.PREPARING
    assert driver.observe(timezone.now()) == []


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "cause", "retriable", "message"),
    [
        (ApiError(403, "Forbidden", 'secrets is forbidden: User "x" cannot create resource'
         ' "secrets" in API group ""'), Cause.ENGINE_FAILED, True, "right to `create` `secrets`"),
        (ApiError(403, "Forbidden", 'secrets "x" is forbidden: exceeded quota: team'),
         Cause.OVER_CAPACITY, True, "quota"),
        (ApiError(422, "Invalid", 'Secret "x" is invalid: data: Too long'),
         Cause.INVALID_SPEC, False, "secrets of `env`: give fewer or shorter ones"),
        (ApiError(500, "InternalError", "etcdserver: request timed out"),
         Cause.ENGINE_FAILED, True, "etcdserver"),
    ],
)  # fmt: skip
def test_a_refused_secret_leaves_nothing_behind(
    kube: KubeCluster,
    driver: KubernetesDriver,
    answer: ApiError,
    cause: Cause,
    retriable: bool,
    message: str,
) -> None:
    kube.server.fail_next("POST", "/secrets", answer)

    refused = start_refused(driver)

    assert (refused.cause, refused.retriable) == (cause, retriable)
    assert message in str(refused)
    assert there(kube) == (0, 0)


def test_without_the_right_to_create_secrets_only_deployments_with_secrets_are_refused(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    granted = kube.accounts[0]
    kube.accounts[0] = Account(granted.name, granted.token, without(granted, "create", "secrets"))

    refused = start_refused(driver)
    driver.start(spec(8, "true"), timezone.now())

    assert (refused.cause, refused.retriable) == (Cause.ENGINE_FAILED, True)
    assert "`create` `secrets`: grant it" in str(refused)
    observed(8, exit_code=0)


def test_more_than_a_secret_can_hold_is_refused(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    with pytest.raises(DriverError, match="fewer or shorter ones") as refused:
        driver.start(spec(7, "true", secrets={"A": "x" * (1 << 20), "B": "y"}), timezone.now())

    assert refused.value.cause is Cause.INVALID_SPEC
    assert "xxx" not in str(refused.value)
    assert there(kube) == (0, 0)


def test_a_pod_that_was_released_in_spite_of_an_error_runs(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    kube.server.fail_next("PATCH", "/pods", ApiError(500, "InternalError", "timeout"), after=True)

    start(driver, *SLEEPS)

    observed(7, phase=Phase.RUNNING)
    assert not [r for r in kube.server.requests if r.method == "DELETE"]


def test_a_refused_pod_that_cannot_be_discarded_is_in_doubt(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.server.fail_next("POST", "/secrets", ApiError(500, "InternalError", "leader changed"))
    kube.server.fail_next("DELETE", "/pods", ApiError(500, "InternalError", "leader changed"))

    assert start_refused(driver).cause is Cause.UNREACHABLE
    assert driver.observe(timezone.now()) == []
    assert there(kube) == (0, 0)


def test_a_secret_that_another_client_deleted_is_not_the_deployment_s_fault(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    kube.pulling = True
    start(driver, *SLEEPS)
    (secret,) = kube.secrets.all()
    kube.secrets.delete(NAMESPACE, secret["metadata"]["name"])
    kube.pulling = False

    ending = observed(7, phase=Phase.EXITED)

    assert ending.cause is Cause.ENGINE_FAILED
    assert "Its Secret was deleted" in ending.message


def test_a_pod_without_secrets_needs_one_call(kube: KubeCluster, driver: KubernetesDriver) -> None:
    driver.start(spec(7, "true", image=IMAGE), timezone.now())

    assert [r.method for r in kube.server.requests] == ["POST"]


# --- Registries -----------------------------------------------------------------------------------

HOST = "registry.example.org:5000"
PRIVATE = f"{HOST}/team/train:1"
LOGIN = RegistryLogin(HOST, "ci", "hunter2")


@pytest.fixture
def private(kube: KubeCluster) -> KubeCluster:
    """A registry that needs the log-in above."""
    kube.private[HOST] = ("ci", "hunter2")
    kube.pullable.add(PRIVATE)
    return kube


def test_an_image_is_pulled_with_the_log_in(
    private: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    driver.start(spec(7, "true", image=PRIVATE, login=LOGIN), timezone.now())

    observed(7, exit_code=0)
    assert "hunter2" not in json.dumps(
        [private.store.all()[0], private.events.select(NAMESPACE, "")]
    )
    (secret,) = private.secrets.all()
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert secret["metadata"]["ownerReferences"]
    driver.remove(uid(7))
    assert there(private) == (0, 0)


@pytest.mark.parametrize("login", [None, RegistryLogin(HOST, "ci", "wrong")])
def test_without_the_right_log_in_the_remedy_is_to_store_it(
    private: KubeCluster, driver: KubernetesDriver, observed: Observed, login: RegistryLogin | None
) -> None:
    driver.start(spec(7, "true", image=PRIVATE, login=login), timezone.now())

    ending = observed(7, phase=Phase.EXITED)

    assert ending.cause is Cause.IMAGE_NOT_PULLABLE
    assert "store or correct the log-in to its registry (`/registries`)" in ending.message
    assert "wrong" not in ending.message


def test_no_pull_begins_before_its_secret_exists(
    private: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    started = spec(7, "true", image=PRIVATE, login=LOGIN, secrets={"TOKEN": "t"})
    private.server.fail_next("PATCH", "/pods", None)
    with pytest.raises(DriverError):
        driver.start(started, timezone.now())
    driver.observe(timezone.now())

    driver.start(started, timezone.now())

    observed(7, exit_code=0)
    assert there(private) == (1, 2)
    assert not private.events.select(NAMESPACE, "reason=FailedToRetrieveImagePullSecret")


def test_docker_hub_has_the_name_that_kubelets_know(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    login = RegistryLogin("docker.io", "ci", "hunter2")

    driver.start(spec(7, "true", login=login), timezone.now())

    (secret,) = kube.secrets.all()
    config = json.loads(b64decode(secret["data"][".dockerconfigjson"]))
    assert list(config["auths"]) == ["https://index.docker.io/v1/"]
