"""The verbs against the fake: their calls, and the errors for its refusals."""

import logging
import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.utils import timezone

from clusters.drivers.base import Cause, DriverError, Observation, Phase, RunAs, uid_by_run
from clusters.drivers.kubernetes import pods
from clusters.drivers.kubernetes.driver import KubernetesDriver
from clusters.models import Connection
from tests.support.docker_engine import wait_until
from tests.support.kube_api import Account, KubeCluster
from tests.support.kube_api.status import ApiError
from tests.support.kubernetes import IMAGE, NAMESPACE, spec, uid, without

Observed = Callable[..., Observation]

UNTIL_ASKED = ("sh", "-c", "trap 'exit 143' TERM; echo up; while :; do sleep 0.02; done")
STUBBORN = ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done")
SAVES_AND_LEAVES = ("sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done")


def key(connection: Connection, run_id: int) -> tuple[str, str]:
    return NAMESPACE, pods.name_of(connection.uid, uid(run_id))


def grace_left(kube: KubeCluster, key: tuple[str, str]) -> object:
    return kube.store.get(key)["metadata"].get("deletionGracePeriodSeconds")


def running(
    driver: KubernetesDriver,
    observed: Observed,
    run_id: int = 7,
    command: tuple[str, ...] = UNTIL_ASKED,
) -> None:
    """Run a container that ends on a signal, with the signal's exit code."""
    driver.start(spec(run_id, *command), timezone.now())
    observed(run_id, phase=Phase.RUNNING)
    wait_until(lambda: b"".join(driver.logs(uid(run_id))), "its first words", seconds=5)


# --- Command and environment ----------------------------------------------------------------------


def test_the_command_and_environment_arrive_unchanged(
    driver: KubernetesDriver, observed: Observed
) -> None:
    given = {"PLAIN": "a b", "DOLLARS": "$(PLAIN) $$ $HOME", "LINES": "x\ny"}
    command = ("printenv", *given), ("printf", "%s", "$(PLAIN) $$(PLAIN)")

    driver.start(spec(7, *command[0], env=given), timezone.now())
    driver.start(spec(8, *command[1], env=given), timezone.now())
    observed(7, exit_code=0)
    observed(8, exit_code=0)

    assert b"".join(driver.logs(uid(7))).decode() == "".join(f"{given[name]}\n" for name in given)
    assert b"".join(driver.logs(uid(8))) == b"$(PLAIN) $$(PLAIN)"


# --- The user -------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_container_runs_as_the_given_user(driver: KubernetesDriver, observed: Observed) -> None:
    driver.start(spec(7, "id", "-u", run_as=RunAs(12345)), timezone.now())
    driver.start(spec(8, "id", "-g", run_as=RunAs(12345, 54321)), timezone.now())
    observed(7, exit_code=0)
    observed(8, exit_code=0)

    assert [b"".join(driver.logs(uid(n))) for n in (7, 8)] == [b"12345\n", b"54321\n"]


def test_a_restricted_namespace_takes_a_container_of_another_user_than_root(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    kube.restricted.add(NAMESPACE)

    driver.start(spec(7, "true", run_as=RunAs(1000, 0)), timezone.now())

    observed(7, exit_code=0)


@pytest.mark.parametrize("run_as", [None, RunAs(0)])
def test_a_restricted_namespace_refuses_root_with_the_remedy(
    kube: KubeCluster, driver: KubernetesDriver, run_as: RunAs | None
) -> None:
    kube.restricted.add(NAMESPACE)

    with pytest.raises(DriverError, match="set `run_as` to the id of another user") as refused:
        driver.start(spec(7, "true", run_as=run_as), timezone.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.INVALID_SPEC, False)


# --- Start ----------------------------------------------------------------------------------------


def test_a_start_whose_response_was_lost_creates_one_pod(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    kube.server.fail_next("POST", "/pods", None, after=True)

    with pytest.raises(DriverError) as lost:
        driver.start(spec(7, "true"), timezone.now())
    driver.start(spec(7, "true"), timezone.now())

    assert (lost.value.cause, lost.value.retriable) == (Cause.UNREACHABLE, True)
    observed(7, exit_code=0)
    assert len(driver.observe(timezone.now())) == 1


def test_a_start_beyond_the_quota_is_retriable(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    kube.quotas[NAMESPACE] = {"limits.memory": "300Mi"}
    running(driver, observed)

    with pytest.raises(DriverError, match="request less") as refused:
        driver.start(spec(8, "true"), timezone.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.OVER_CAPACITY, True)


LIMITS = {"min": {"cpu": "250m", "memory": "128Mi"}, "max": {"cpu": "2", "memory": "1Gi"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cpu_milli": 3000}, "request less[.] .*maximum cpu usage"),
        ({"cpu_milli": 100}, "request more[.] .*minimum cpu usage"),
        ({"cpu_milli": 100, "ram_mib": 64}, "request more[.] .*minimum memory usage"),
        ({"cpu_milli": 3000, "ram_mib": 64}, "within its bounds[.] .*maximum cpu usage"),
    ],
)
def test_both_bounds_of_a_limit_range_count_as_capacity(
    kube: KubeCluster, driver: KubernetesDriver, change: dict[str, Any], message: str
) -> None:
    kube.limits[NAMESPACE] = LIMITS

    with pytest.raises(DriverError, match=message) as refused:
        driver.start(spec(7, "true", **change), timezone.now())
    driver.start(spec(8, "true"), timezone.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.OVER_CAPACITY, False)


def test_a_missing_right_is_not_reported_as_capacity(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    granted = kube.accounts[0]
    rules = without(granted, "create", "pods")
    kube.accounts[0] = Account(granted.name, granted.token, rules)

    with pytest.raises(DriverError, match="right to `create` `pods`") as refused:
        driver.start(spec(7, "true"), timezone.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.ENGINE_FAILED, True)


@pytest.mark.parametrize(("name", "relaxed"), [("1A", False), ("A B", False), ("\xc4", True)])
def test_a_refused_name_of_a_variable_has_env_as_the_remedy(
    kube: KubeCluster, driver: KubernetesDriver, name: str, relaxed: bool
) -> None:
    kube.relaxed_names = relaxed

    with pytest.raises(DriverError, match=f"correct `env`[.] .*{name}") as refused:
        driver.start(spec(7, "true", env={name: "1"}), timezone.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.INVALID_SPEC, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"env": {"A=B": "1"}}, r"env\[0\].name"), ({"image": " x"}, r"containers\[0\].image")],
)
def test_a_pod_that_kubernetes_finds_invalid_is_not_retriable(
    driver: KubernetesDriver, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DriverError, match=message) as refused:
        driver.start(spec(7, "true", **change), timezone.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.INVALID_SPEC, False)


@pytest.mark.parametrize(
    ("answer", "cause", "retriable", "message"),
    [
        (ApiError(403, "Forbidden", 'pods "x" is forbidden: violates PodSecurity "restricted"'),
         Cause.INVALID_SPEC, False, "PodSecurity"),
        (ApiError(403, "Forbidden", "unable to create new content in namespace mlops because it is"
         " being terminated"), Cause.ENGINE_FAILED, True, "not ready"),
        (ApiError(403, "Forbidden", "maximum memory usage per Container is 1Gi, but limit is 2Gi"),
         Cause.OVER_CAPACITY, False, "request less"),
        (ApiError(409, "Conflict", "Operation cannot be fulfilled on resourcequotas"),
         Cause.ENGINE_FAILED, True, "at the same time"),
        (ApiError(429, "TooManyRequests", "slow down", {"Retry-After": "7"}),
         Cause.ENGINE_FAILED, True, "7 seconds"),
        (ApiError(500, "InternalError", "etcdserver: request timed out"),
         Cause.ENGINE_FAILED, True, "etcdserver"),
        (ApiError(503, "ServiceUnavailable", "apiserver is shutting down"),
         Cause.ENGINE_FAILED, True, "shutting down"),
        (None, Cause.UNREACHABLE, True, "cannot be reached"),
    ],
)  # fmt: skip
def test_a_refusal_has_a_cause_and_whether_it_is_retriable(
    kube: KubeCluster,
    driver: KubernetesDriver,
    answer: ApiError | None,
    cause: Cause,
    retriable: bool,
    message: str,
) -> None:
    kube.server.fail_next("POST", "/pods", answer)

    with pytest.raises(DriverError, match=message) as refused:
        driver.start(spec(7, "true"), timezone.now())

    assert (refused.value.cause, refused.value.retriable) == (cause, retriable)
    assert len([r for r in kube.server.requests if r.method == "POST"]) == 1


def test_a_missing_namespace_is_the_engine_s_failure(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    del kube.namespaces[NAMESPACE]

    with pytest.raises(DriverError, match=NAMESPACE) as refused:
        driver.start(spec(7, "true"), timezone.now())

    assert refused.value.cause is Cause.ENGINE_FAILED


# --- Storage --------------------------------------------------------------------------------------


def test_more_storage_than_the_limit_is_the_end(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection, observed: Observed
) -> None:
    driver.start(spec(7, *STUBBORN, ephemeral_storage_mib=10), timezone.now())
    driver.start(spec(8, *STUBBORN), timezone.now())
    for run_id in (7, 8):
        observed(run_id, phase=Phase.RUNNING)
        kube.fill(key(connection, run_id), "11Mi")

    ending = observed(7, phase=Phase.EXITED)

    assert ending.cause is Cause.OUT_OF_STORAGE
    assert "set a larger `ephemeral_storage_mib`" in ending.message
    assert "limit of containers 10Mi" in ending.message
    assert observed(8).phase is Phase.RUNNING


def test_a_limit_beyond_a_node_s_disk_does_not_keep_a_container_off_it(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    kube.nodes[0].storage = "1Gi"

    started = spec(7, "true", ephemeral_storage_mib=2048, node="node-1")
    driver.start(started, timezone.now())

    observed(7, exit_code=0)


def test_a_quota_that_requires_a_limit_of_storage_has_the_field_as_the_remedy(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    kube.quotas[NAMESPACE] = {"limits.ephemeral-storage": "10Gi"}

    with pytest.raises(DriverError, match="set `ephemeral_storage_mib`") as refused:
        driver.start(spec(7, "true"), timezone.now())
    driver.start(spec(8, "true", ephemeral_storage_mib=100), timezone.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.INVALID_SPEC, False)
    observed(8, exit_code=0)


# --- Connecting -----------------------------------------------------------------------------------


def test_an_unknown_token_is_reported(connection: Connection) -> None:
    connection.seal_credentials({"token": "another"})

    with pytest.raises(DriverError, match="new credentials") as refused:
        KubernetesDriver(connection).observe(timezone.now())

    assert "another" not in str(refused.value)


def test_an_unreachable_address_is_reported(connection: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        connection.endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"

    with pytest.raises(DriverError, match="Connection refused") as refused:
        KubernetesDriver(connection).observe(timezone.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.UNREACHABLE, True)


def test_a_connection_needs_a_namespace(connection: Connection) -> None:
    connection.namespace = ""

    with pytest.raises(DriverError, match="`namespace`"):
        KubernetesDriver(connection).observe(timezone.now())


def test_many_pods_are_listed_in_pages(
    kube: KubeCluster, driver: KubernetesDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clusters.drivers.kubernetes.api.PAGE", 2)
    for run_id in range(5):
        driver.start(spec(run_id, "true", image="missing:1"), timezone.now())
    gone = ApiError(410, "Expired", "The provided continue parameter is too old")
    driver.observe(timezone.now())
    kube.server.fail_next("GET", "/pods", gone)

    assert sorted(o.run_id for o in driver.observe(timezone.now())) == [0, 1, 2, 3, 4]


# --- Endings --------------------------------------------------------------------------------------


def test_a_stop_grants_the_grace_and_the_ending_is_kept_until_it_is_removed(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection, observed: Observed
) -> None:
    running(driver, observed)

    driver.stop(uid(7), 30, timezone.now())
    ending = observed(7, phase=Phase.EXITED)
    kept = kube.store.get(key(connection, 7))
    driver.remove(uid(7))

    assert (ending.exit_code, ending.cause) == (143, None)
    assert kept["metadata"]["finalizers"] == [pods.OBSERVED]
    assert kube.store.all()[0] == []


def test_removing_a_running_container_does_nothing(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    running(driver, observed)

    driver.remove(uid(7))

    assert observed(7, phase=Phase.RUNNING)
    assert not [r for r in kube.server.requests if r.method == "DELETE"]


@pytest.mark.parametrize("command", [UNTIL_ASKED, SAVES_AND_LEAVES], ids=["143", "0"])
@pytest.mark.parametrize("way", ["drain", "preempt", "press", "delete"])
@pytest.mark.parametrize("counts_back", [True, False])
def test_an_eviction_by_kubernetes_is_distinguished_from_a_stop(
    kube: KubeCluster,
    driver: KubernetesDriver,
    connection: Connection,
    observed: Observed,
    way: str,
    command: tuple[str, ...],
) -> None:
    running(driver, observed, command=command)

    getattr(kube, way)(key(connection, 7))

    assert observed(7, phase=Phase.EXITED).cause is Cause.ENGINE_EVICTED


@pytest.mark.parametrize("command", [UNTIL_ASKED, SAVES_AND_LEAVES], ids=["143", "0"])
@pytest.mark.parametrize("way", ["drain", "preempt", "delete"])
@pytest.mark.parametrize("counts_back", [True, False])
def test_an_eviction_that_is_observed_late_is_distinguished_too(
    kube: KubeCluster,
    driver: KubernetesDriver,
    connection: Connection,
    observed: Observed,
    way: str,
    command: tuple[str, ...],
) -> None:
    running(driver, observed, command=command)
    kube.confirms_after_s = 1.1  # so that the deletion is completed in a later second than the end

    getattr(kube, way)(key(connection, 7))
    wait_until(lambda: grace_left(kube, key(connection, 7)) == 0, "its node's confirmation")

    assert observed(7, phase=Phase.EXITED).cause is Cause.ENGINE_EVICTED


@pytest.mark.parametrize("counts_back", [True, False])
def test_another_client_s_deletion_is_recorded_on_the_pod_when_first_observed(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection, observed: Observed
) -> None:
    running(driver, observed, command=STUBBORN)
    kube.delete(key(connection, 7))
    asked = kube.store.get(key(connection, 7))["metadata"]["deletionTimestamp"]

    assert observed(7).phase is Phase.RUNNING
    recorded = kube.store.get(key(connection, 7))["metadata"]["annotations"]
    kube.store.delete(key(connection, 7), 1)
    ending = observed(7, phase=Phase.EXITED)

    at = datetime.fromisoformat(asked) - timedelta(seconds=settings.STOP_GRACE_SECONDS)
    assert datetime.fromisoformat(recorded[pods.DELETION_REQUESTED]) == at
    assert (ending.exit_code, ending.cause) == (137, Cause.ENGINE_EVICTED)


def test_a_stop_is_not_recorded_as_another_client_s_deletion(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection, observed: Observed
) -> None:
    running(driver, observed, command=STUBBORN)
    driver.stop(uid(7), 60, timezone.now())

    assert observed(7).phase is Phase.RUNNING
    annotations = kube.store.get(key(connection, 7))["metadata"]["annotations"]
    assert pods.DELETION_REQUESTED not in annotations


def test_a_deletion_that_cannot_be_recorded_is_observed_anyway(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection, observed: Observed
) -> None:
    running(driver, observed, command=STUBBORN)
    kube.server.fail_next("PATCH", "/pods", ApiError(500, "InternalError", "leader changed"))
    kube.delete(key(connection, 7))

    assert observed(7).phase is Phase.RUNNING
    assert not kube.server.faults


def test_a_node_that_is_not_ready_is_reported_until_it_is_ready(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    running(driver, observed)
    node = next(node for node in kube.nodes if node.name == "node-1")

    kube.silence(node)
    (silent,) = driver.observe(timezone.now())
    node.answers = True
    again = observed(7, cause=None)

    assert (silent.phase, silent.cause) == (Phase.RUNNING, Cause.NODE_LOST)
    assert "node-1" in silent.message
    assert (again.phase, again.message) == (Phase.RUNNING, "")


def test_a_container_on_a_lost_node_keeps_its_resources_until_kubernetes_confirms(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection, observed: Observed
) -> None:
    running(driver, observed)
    node = next(node for node in kube.nodes if node.name == "node-1")

    kube.lose(node)
    during = observed(7)
    kube.remove(node)
    ending = observed(7, phase=Phase.EXITED)
    driver.remove(uid(7))

    assert during.phase is Phase.RUNNING
    assert ending.cause is Cause.NODE_LOST
    assert kube.store.all()[0] == []


def test_a_node_that_comes_back_ends_the_containers_given_up(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    running(driver, observed)
    node = next(node for node in kube.nodes if node.name == "node-1")

    kube.lose(node)
    node.answers = True

    assert observed(7, phase=Phase.EXITED).cause is Cause.NODE_LOST


def test_a_pod_that_waits_for_a_node_can_be_stopped_and_removed(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    driver.start(spec(7, "true", gpu=3), timezone.now())
    waiting = observed(7, phase=Phase.PREPARING, cause=None)
    wait_until(lambda: "Insufficient nvidia.com/gpu" in observed(7).message, "why it waits")

    driver.stop(uid(7), 30, timezone.now())
    ending = observed(7, phase=Phase.EXITED)
    driver.remove(uid(7))

    assert (waiting.exit_code, ending.exit_code, ending.cause) == (None, None, None)
    assert kube.store.all()[0] == []


def test_a_pod_whose_image_cannot_be_pulled_leaves_nothing_behind(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    driver.start(spec(7, "true", image="nobody/nothing:1"), timezone.now())

    ending = observed(7, phase=Phase.EXITED)
    driver.remove(uid(7))

    assert ending.cause is Cause.IMAGE_NOT_FOUND
    assert kube.store.all()[0] == []


def test_a_pod_that_was_deleted_by_force_is_gone(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection, observed: Observed
) -> None:
    running(driver, observed)

    kube.store.update(key(connection, 7), lambda pod: pod["metadata"].update(finalizers=[]))
    kube.store.delete(key(connection, 7), 0)

    assert driver.observe(timezone.now()) == []
    driver.stop(uid(7), 30, timezone.now())
    driver.remove(uid(7))


def test_a_finalizer_of_another_client_is_kept(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection, observed: Observed
) -> None:
    driver.start(spec(7, "true"), timezone.now())
    observed(7, phase=Phase.EXITED)
    both = [pods.OBSERVED, "example.org/backup"]
    kube.store.update(key(connection, 7), lambda pod: pod["metadata"].update(finalizers=both))

    driver.remove(uid(7))

    assert kube.store.get(key(connection, 7))["metadata"]["finalizers"] == ["example.org/backup"]


# --- Other Pods -----------------------------------------------------------------------------------


def test_other_pods_in_the_namespace_are_neither_listed_nor_changed(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection
) -> None:
    elsewhere = Connection(cluster=connection.cluster, endpoint=kube.url, namespace=NAMESPACE)
    elsewhere.uid = uuid4()
    elsewhere.seal_credentials({"token": "a-token"})
    KubernetesDriver(elsewhere).start(spec(7, *UNTIL_ASKED), timezone.now())

    driver.stop(uid(7), 0, timezone.now())
    driver.remove(uid(7))

    assert driver.observe(timezone.now()) == []
    assert "deletionTimestamp" not in kube.store.get(key(elsewhere, 7))["metadata"]


def test_a_pod_from_before_container_uids_is_identified_by_its_run(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection
) -> None:
    former = pods.manifest(connection.uid, spec(7, *UNTIL_ASKED), grace_seconds=1)
    former["metadata"]["name"] = f"run-7-{connection.uid.hex[:8]}"
    del former["metadata"]["labels"][pods.UID]
    kube.create_pod(NAMESPACE, former)
    driver.start(spec(7, *UNTIL_ASKED), timezone.now())
    assert {o.uid for o in driver.observe(timezone.now())} == {uid(7), uid_by_run(7)}

    def is_removed() -> bool:
        driver.stop(uid_by_run(7), 1, timezone.now())
        driver.remove(uid_by_run(7))
        return uid_by_run(7) not in {o.uid for o in driver.observe(timezone.now())}

    wait_until(is_removed, "it is removed")
    assert [o.uid for o in driver.observe(timezone.now())] == [uid(7)]


def test_a_pod_that_only_has_the_labels_is_ignored(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection
) -> None:
    for run in ("7", "all"):
        forged = pods.manifest(connection.uid, spec(7, "true"), grace_seconds=1)
        forged["metadata"] |= {"name": f"forged-{run}"}
        forged["metadata"]["labels"] |= {pods.RUN: run}
        kube.create_pod(NAMESPACE, forged)

    assert driver.observe(timezone.now()) == []


# --- Logs -----------------------------------------------------------------------------------------


def test_following_yields_the_output_as_it_is_written(
    driver: KubernetesDriver, observed: Observed
) -> None:
    running(driver, observed)
    pieces = driver.logs(uid(7), follow=True)

    first = next(pieces)
    driver.stop(uid(7), 30, timezone.now())

    assert first == b"up\n"
    assert b"".join(pieces) == b""


def test_a_container_that_has_not_started_has_no_output(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.pulling = True
    driver.start(spec(7, "true"), timezone.now())

    assert list(driver.logs(uid(7))) == list(driver.logs(uid(7), follow=True)) == []


def test_a_container_is_preparing_while_its_image_is_pulled(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    kube.pulling = True
    driver.start(spec(7, "true"), timezone.now())
    observed(7, phase=Phase.PREPARING)

    kube.pulling = False

    assert observed(7, phase=Phase.EXITED).exit_code == 0


def test_a_pod_has_the_deployment_s_image(kube: KubeCluster, driver: KubernetesDriver) -> None:
    driver.start(spec(7, "true"), timezone.now())

    (pod,), _ = kube.store.all()
    assert pod["spec"]["containers"][0]["image"] == IMAGE


# --- Secrets --------------------------------------------------------------------------------------


def test_neither_tokens_nor_environments_are_logged(
    kube: KubeCluster,
    driver: KubernetesDriver,
    observed: Observed,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
    driver.probe()
    driver.start(spec(7, "true", env={"PASSWORD": "hunter2"}), timezone.now())
    observed(7, phase=Phase.EXITED)
    kube.server.fail_next("GET", "/pods", ApiError(500, "InternalError", "leader changed"))
    with pytest.raises(DriverError):
        driver.observe(timezone.now())
    driver.remove(uid(7))

    assert "/api/v1/namespaces" in caplog.text  # something is logged at all
    assert "hunter2" not in caplog.text
    assert "a-token" not in caplog.text
