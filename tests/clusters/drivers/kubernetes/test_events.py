"""The message of a container that has not started yet, from its Pod's events."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from clusters.drivers.base import Observation, Phase
from clusters.drivers.kubernetes import events
from clusters.drivers.kubernetes.driver import KubernetesDriver
from tests.support.docker_engine import wait_until
from tests.support.kube_api import Account, KubeCluster
from tests.support.kube_api.status import ApiError
from tests.support.kubernetes import IMAGE, NAMESPACE, account, spec, without

NO_ADDRESS = 'plugin type="calico" failed (add): no IP addresses available'


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FIRST_S", 0)
    monkeypatch.setattr(events, "AGAIN_S", 0)


@pytest.fixture
def seen(driver: KubernetesDriver) -> Callable[[], Observation]:
    return lambda: driver.observe(timezone.now())[0]


Seen = Callable[[], Observation]


def asked(kube: KubeCluster) -> int:
    return sum(request.attributes.resource == "events" for request in kube.server.requests)


def test_a_pull_is_reported_while_it_lasts(
    kube: KubeCluster, driver: KubernetesDriver, seen: Seen
) -> None:
    kube.pulling = True
    driver.start(spec(7, "sleep", "60"), timezone.now())

    wait_until(lambda: "being pulled" in seen().message, "the message", seconds=10)
    assert seen().message == f"Image {IMAGE} is being pulled."
    kube.pulling = False
    wait_until(lambda: seen().phase is Phase.RUNNING, "it runs", seconds=10)
    assert seen().message == ""


def test_a_failed_sandbox_is_reported_with_the_event_s_message(
    kube: KubeCluster, driver: KubernetesDriver, seen: Seen
) -> None:
    kube.no_sandbox = NO_ADDRESS
    driver.start(spec(7, "sleep", "60"), timezone.now())

    wait_until(lambda: NO_ADDRESS in seen().message, "the message", seconds=10)
    first = seen()
    tries = len(kube.events.select(NAMESPACE, "reason=FailedCreatePodSandBox"))
    wait_until(
        lambda: len(kube.events.select(NAMESPACE, "reason=FailedCreatePodSandBox")) > tries,
        "another try",
        seconds=10,
    )

    assert (first.phase, first.cause) == (Phase.PREPARING, None)
    assert "(FailedCreatePodSandBox)" in first.message
    assert "image" not in first.message
    assert seen() == first  # new ids at each attempt do not change the message
    kube.no_sandbox = ""
    wait_until(lambda: seen().phase is Phase.RUNNING, "it runs", seconds=10)


def test_numbers_that_differ_at_each_attempt_do_not_change_the_message(
    kube: KubeCluster, driver: KubernetesDriver, seen: Seen
) -> None:
    kube.no_sandbox = "read tcp 10.0.0.1:40001->10.0.0.2:443: i/o timeout"
    driver.start(spec(7, "sleep", "60"), timezone.now())
    wait_until(lambda: ":40001" in seen().message, "the message", seconds=10)
    first = seen()

    kube.no_sandbox = kube.no_sandbox.replace(":40001", ":40002")
    wait_until(lambda: ":40002" in str(kube.events.select(NAMESPACE, "")), "another try")
    again = seen()
    kube.no_sandbox = "no such network"

    assert again == first
    wait_until(lambda: "no such network" in seen().message, "what is new", seconds=10)


def test_without_the_right_events_are_rarely_requested(
    kube: KubeCluster, driver: KubernetesDriver, seen: Seen
) -> None:
    granted = account()
    kube.accounts[0] = Account(granted.name, granted.token, without(granted, "list", "events"))
    kube.no_sandbox = NO_ADDRESS
    driver.start(spec(7, "sleep", "60"), timezone.now())

    wait_until(lambda: seen() and asked(kube), "that it asks", seconds=10)

    assert (seen().phase, seen().message) == (Phase.PREPARING, "")
    assert asked(kube) == 1
    kube.accounts[0] = granted
    later = timezone.now() + timedelta(seconds=events.PAUSE_S)
    assert NO_ADDRESS in driver.observe(later)[0].message


def test_a_failure_to_read_events_does_not_fail_the_observation(
    kube: KubeCluster, driver: KubernetesDriver, seen: Seen
) -> None:
    kube.server.fail_next("GET", "/events", ApiError(500, "InternalError", "leader changed"))
    kube.no_sandbox = NO_ADDRESS
    driver.start(spec(7, "sleep", "60"), timezone.now())

    wait_until(lambda: seen() and not kube.server.faults, "that it asks", seconds=10)

    assert (seen().phase, seen().message) == (Phase.PREPARING, "")


def test_the_events_of_many_preparing_pods_are_read_in_turn(
    kube: KubeCluster, driver: KubernetesDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "AT_ONCE", 2)
    monkeypatch.setattr(events, "AGAIN_S", 600)
    kube.no_sandbox = NO_ADDRESS
    for run_id in range(5):
        driver.start(spec(run_id, "true"), timezone.now())
    wait_until(
        lambda: len(kube.events.select(NAMESPACE, "reason=FailedCreatePodSandBox")) >= 5,
        "a try of each",
        seconds=10,
    )

    expected = [
        sum(NO_ADDRESS in seen.message for seen in driver.observe(timezone.now())) for _ in range(4)
    ]

    assert expected == [2, 4, 5, 5]
    assert asked(kube) == 5


def test_no_events_are_read_for_a_pod_that_starts_soon(
    kube: KubeCluster, driver: KubernetesDriver, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FIRST_S", 60)
    kube.pulling = True
    driver.start(spec(7, "sleep", "60"), timezone.now())
    wait_until(lambda: kube.events.select(NAMESPACE, "reason=Pulling"), "its node pulls")

    assert seen().message == ""
    assert asked(kube) == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ""),
        ([("Normal", "Scheduled", 1)], ""),
        ([("Warning", "FailedScheduling", 1)], ""),
        ([("Normal", "Scheduled", 1), ("Warning", "FailedMount", 1)], "FailedMount"),
        ([("Warning", "FailedMount", 2), ("Normal", "Pulling", 1)], "FailedMount"),
        ([("Warning", "FailedMount", 1), ("Normal", "Pulling", 2)], "being pulled"),
        ([("Normal", "Pulling", 1), ("Normal", "Pulled", 1)], ""),
    ],
)
def test_the_latest_event_counts(given: list[tuple[str, str, int]], expected: str) -> None:
    items: list[dict[str, Any]] = [
        {"type": kind, "reason": reason, "message": "why", "eventTime": None,
         "lastTimestamp": f"2026-03-01T12:00:0{second}Z"}
        for kind, reason, second in given
    ]  # fmt: skip

    assert (expected in events.explanation(items)) if expected else events.explanation(items) == ""


def test_the_time_of_a_newer_kind_of_event_is_found() -> None:
    older = {"type": "Normal", "reason": "Pulling", "message": 'Pulling image "a:1"',
             "lastTimestamp": "2026-03-01T12:00:01Z"}  # fmt: skip
    newer = {"type": "Warning", "reason": "FailedMount", "message": "why", "lastTimestamp": None,
             "eventTime": "2026-03-01T12:00:01.000001Z",
             "series": {"count": 3, "lastObservedTime": "2026-03-01T12:00:09.5Z"}}  # fmt: skip

    assert "FailedMount" in events.explanation([newer, older])
