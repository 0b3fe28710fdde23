"""One process at a time calls an engine; other requests do not wait and are not lost."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, connections

from clusters.engines import Engine
from clusters.models import Cluster
from clusters.wakeups import RECONCILE, flush, request_rerun
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.lock import one_at_a_time
from deployments.tasks import reconcile_all, reconcile_cluster
from tests.fixtures.deployments import Submit
from tests.support.docker_engine import wait_until
from tests.support.locks import held

pytestmark = pytest.mark.django_db(transaction=True)

CLUSTER = 4711
ENGINE = Engine(Cluster(pk=CLUSTER))
_PATIENCE_S = 10


@pytest.fixture(autouse=True)
def no_flags() -> None:
    cache.clear()


def recorded(calls: list[Any], call: Any) -> bool:
    """Record a call that was answered."""
    calls.append(call)
    return True


def in_thread(pool: ThreadPoolExecutor, work: Callable[[], bool]) -> Callable[[], None]:
    """Do the work in another thread with its own connection; return how to wait for it."""

    def take() -> None:
        try:
            one_at_a_time(ENGINE, work)
        finally:
            connections.close_all()

    future = pool.submit(take)
    return lambda: future.result(_PATIENCE_S)


def test_a_request_during_a_reconciliation_returns_at_once_and_causes_another() -> None:
    looking, go_on = Event(), Event()
    calls: list[Any] = []

    def slow() -> bool:
        calls.append("first")
        looking.set()
        return go_on.wait(_PATIENCE_S)

    with ThreadPoolExecutor() as pool:
        wait_for_first = in_thread(pool, slow)
        assert looking.wait(_PATIENCE_S)
        in_thread(pool, partial(recorded, calls, "second"))()
        assert calls == ["first"]
        go_on.set()
        wait_for_first()

    assert calls == ["first", "first"]


def test_without_another_request_there_is_one_reconciliation() -> None:
    calls: list[Any] = []

    one_at_a_time(ENGINE, partial(recorded, calls, 1))

    assert len(calls) == 1


def test_an_engine_that_does_not_answer_is_tried_again_in_the_next_period() -> None:
    calls: list[Any] = []

    def silent() -> bool:
        calls.append(1)
        request_rerun(RECONCILE, CLUSTER)
        return False

    one_at_a_time(ENGINE, silent)

    assert len(calls) == 1


def test_a_cluster_that_changes_constantly_does_not_occupy_the_thread() -> None:
    calls: list[Any] = []

    def busy() -> bool:
        calls.append(1)
        request_rerun(RECONCILE, CLUSTER)
        return True

    one_at_a_time(ENGINE, busy)

    assert len(calls) == 20


def test_one_engine_does_not_block_another() -> None:
    looking, go_on = Event(), Event()
    others: list[Any] = []

    def hung() -> bool:
        looking.set()
        return go_on.wait(_PATIENCE_S)

    with ThreadPoolExecutor() as pool:
        wait_for_first = in_thread(pool, hung)
        assert looking.wait(_PATIENCE_S)
        one_at_a_time(Engine(Cluster(pk=CLUSTER + 1)), partial(recorded, others, 1))
        assert others == [1]
        go_on.set()
        wait_for_first()


def test_a_failure_releases_the_lock() -> None:
    def fails() -> bool:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError):
        one_at_a_time(ENGINE, fails)
    calls: list[Any] = []
    with ThreadPoolExecutor() as pool:
        in_thread(pool, partial(recorded, calls, 1))()

    assert calls == [1]


@pytest.fixture
def impatient() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")


def test_a_reconciliation_that_meets_a_locked_row_ends_and_is_requested_again(
    foundry: Cluster, place: Submit, impatient: None
) -> None:
    deployment = place()
    reconcile_cluster(foundry.pk)  # launched, and seen to run by the next reconciliation
    Deployment.objects.filter(pk=deployment.pk).update(status=Status.STARTING, started_at=None)
    deployment.runs.update(started_at=None)
    flush()
    cache.clear()

    with held("deployments_deployment", deployment.pk):
        reconcile_cluster(foundry.pk)

    def is_asked_for() -> bool:
        flush()
        return cache.get(f"wakeup:{RECONCILE}:{foundry.pk}") is not None

    wait_until(is_asked_for, "another reconciliation is requested")
    reconcile_cluster(foundry.pk)
    deployment.refresh_from_db()
    assert deployment.status == Status.RUNNING


def test_healing_that_meets_a_locked_row_is_tried_again_in_the_next_period(
    foundry: Cluster, place: Submit, impatient: None
) -> None:
    deployment = place()
    Deployment.objects.filter(pk=deployment.pk).update(status=Status.STOPPING)
    deployment.runs.update(
        released_at=deployment.placed_at, ended_at=deployment.placed_at, outcome="stopped"
    )

    with held("deployments_deployment", deployment.pk):
        reconcile_all()
    reconcile_all()

    deployment.refresh_from_db()
    assert deployment.status == Status.STOPPED
