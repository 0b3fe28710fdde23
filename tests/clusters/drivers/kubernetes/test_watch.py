"""Each change is reported once, when it happens, and none is missed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.utils import timezone

from clusters.drivers.base import DriverError, Observation, Phase
from clusters.drivers.kubernetes import driver as module
from clusters.drivers.kubernetes import pods
from clusters.drivers.kubernetes.driver import KubernetesDriver
from tests.support.docker_engine import wait_until
from tests.support.kube_api import KubeCluster, Rule
from tests.support.kube_api.status import ApiError
from tests.support.kubernetes import NAMESPACE, account, manifests, spec, uid

Observed = Callable[..., Observation]


class Listener:
    """Watches like a worker, which begins again whenever the watch has ended."""

    def __init__(self, driver: KubernetesDriver) -> None:
        self.reported = 0
        self.errors: list[DriverError] = []
        self.ended = threading.Event()
        self._driver = driver
        self._leaves = False

    def listen(self) -> None:
        while not self._leaves:
            try:
                for _ in self._driver.watch():
                    self.reported += 1
            except DriverError as error:
                self.errors.append(error)
            self.ended.set()

    def leave(self) -> None:
        self._leaves = True


@contextmanager
def listening(driver: KubernetesDriver, kube: KubeCluster) -> Iterator[Listener]:
    listener = Listener(driver)
    thread = threading.Thread(target=listener.listen, daemon=True)
    thread.start()
    wait_until(lambda: watches(kube), "a watch")
    yield listener
    listener.leave()
    kube.store.close()
    thread.join(10)


def watches(kube: KubeCluster) -> int:
    return calls(kube, "watch")


def lists(kube: KubeCluster) -> int:
    return calls(kube, "list")


def calls(kube: KubeCluster, verb: str) -> int:
    """Return the number of calls for the connection's Pods, not for what else it follows."""
    asked = [r.attributes for r in kube.server.requests if r.attributes.verb == verb]
    return sum((a.resource, a.namespace) == ("pods", NAMESPACE) for a in asked)


def test_every_step_of_a_container_is_reported(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    with listening(driver, kube) as listener:
        driver.start(spec(7, "true"), timezone.now())
        # It is accepted, may run long enough to be observed, and has ended.
        wait_until(lambda: listener.reported >= 2, "its steps")
        observed(7, phase=Phase.EXITED)
        before = listener.reported

        driver.remove(uid(7))

        wait_until(lambda: listener.reported == before + 1, "its removal")


def test_an_irrelevant_change_is_not_reported(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    with listening(driver, kube) as listener:
        driver.start(spec(7, "sleep", "60"), timezone.now())
        observed(7, phase=Phase.RUNNING)
        wait_until(lambda: listener.reported >= 2, "its steps")
        before = listener.reported
        (pod,), _ = kube.store.all()
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]

        kube.store.update(key, lambda pod: pod["metadata"]["labels"].update(note="x"))
        kube.press(key)

        wait_until(lambda: listener.reported == before + 1, "only its end")


def test_a_node_that_becomes_not_ready_is_reported(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    with listening(driver, kube) as listener:
        driver.start(spec(7, "sleep", "60"), timezone.now())
        observed(7, phase=Phase.RUNNING)
        wait_until(lambda: listener.reported >= 2, "its steps")
        before = listener.reported

        kube.silence(kube.nodes[0])

        wait_until(lambda: listener.reported == before + 1, "its node's silence")


def test_a_watch_records_another_client_s_deletion_before_the_next_reconcile(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    with listening(driver, kube) as listener:
        driver.start(spec(7, "sh", "-c", "trap '' TERM; while :; do sleep 0.02; done"),
                     timezone.now())  # fmt: skip
        observed(7, phase=Phase.RUNNING)
        wait_until(lambda: listener.reported >= 2, "its steps")
        (pod,), _ = kube.store.all()
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]

        kube.delete(key)

        def annotations() -> dict[str, str]:
            found: dict[str, str] = kube.store.get(key)["metadata"].get("annotations", {})
            return found

        wait_until(lambda: pods.DELETION_REQUESTED in annotations(), "the annotation")


def test_a_watch_from_a_version_that_is_too_old_begins_again_with_a_list(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    with listening(driver, kube) as listener:
        before = lists(kube), watches(kube)

        kube.store.compact()

        wait_until(lambda: listener.ended.is_set() and watches(kube) > before[1], "a new watch")
        assert lists(kube) > before[0]
        driver.start(spec(7, "sleep", "60"), timezone.now())
        wait_until(lambda: listener.reported >= 2, "what happened afterwards")


def test_changes_between_two_watches_are_reported_by_the_second(
    kube: KubeCluster, driver: KubernetesDriver, observed: Observed
) -> None:
    driver.start(spec(7, "true"), timezone.now())
    observed(7, phase=Phase.EXITED)
    next(driver.watch())

    driver.remove(uid(7))

    next(driver.watch())


def test_a_known_state_is_not_reported_again(
    kube: KubeCluster,
    driver: KubernetesDriver,
    observed: Observed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WATCH_S", 1)
    driver.start(spec(7, "true"), timezone.now())
    observed(7, phase=Phase.EXITED)
    next(driver.watch())

    assert list(driver.watch()) == []


def test_a_watch_without_the_right_raises_the_error(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    rules = account(manifests()).rules
    kube.accounts[0] = type(kube.accounts[0])(
        kube.accounts[0].name,
        kube.accounts[0].token,
        tuple(
            Rule(rule.verbs - {"watch"}, rule.resources, rule.names, rule.namespace)
            for rule in rules
        ),
    )

    with pytest.raises(DriverError, match="right to `watch` `pods`"):
        list(driver.watch())


def test_a_broken_connection_is_reported(kube: KubeCluster, driver: KubernetesDriver) -> None:
    kube.server.fail_next("GET", "/namespaces/", ApiError(500, "InternalError", "leader changed"))

    with pytest.raises(DriverError, match="leader changed"):
        list(driver.watch())
