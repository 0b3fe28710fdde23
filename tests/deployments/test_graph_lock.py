"""Real threads: no two transactions can each do half of what would be wrong together."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import monotonic, sleep

import pytest
from django.db import connection, transaction

from accounts.errors import Conflict, DomainError, Invalid
from clusters.models import Cluster
from deployments import services
from deployments.dependencies import Wait
from deployments.models import Dependency, Deployment
from deployments.specs import Spec
from tests.deployments.conftest import Submit

pytestmark = pytest.mark.django_db(transaction=True)


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND datname = current_database())"
        )
        return bool(cursor.fetchone()[0])


def second_comes_while_first_is_at_work(
    first: Callable[[], object], second: Callable[[], object]
) -> DomainError:
    """Begin the second before the first has committed; return what the second is refused for."""

    def in_thread() -> None:
        try:
            second()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            first()
            future = pool.submit(in_thread)
            deadline = monotonic() + 10
            while not somebody_waits_for_a_lock():
                assert monotonic() < deadline, "the second does not wait for the first"
                sleep(0.01)
        error = future.exception(timeout=10)
    assert isinstance(error, DomainError), error
    return error


def wait_for(waiting: Deployment, other: Deployment) -> Callable[[], object]:
    changed = replace(Spec.of(waiting), depends_on=(Wait(other.pk),))
    return lambda: services.update(waiting, actor="bob", spec=changed)


def test_two_at_once_do_not_close_a_circle(forge: Cluster, submit: Submit) -> None:
    one, other = submit(), submit()

    error = second_comes_while_first_is_at_work(wait_for(one, other), wait_for(other, one))

    assert (type(error), error.code) == (Invalid, "dependency_cycle")
    assert Dependency.objects.count() == 1


def test_nobody_begins_to_wait_for_what_is_being_deleted(forge: Cluster, submit: Submit) -> None:
    going, waiting = submit(), submit()

    error = second_comes_while_first_is_at_work(
        lambda: services.delete(going, actor="bob"), wait_for(waiting, going)
    )

    assert (type(error), error.attr) == (Invalid, "depends_on")


def test_nobody_deletes_what_somebody_begins_to_wait_for(forge: Cluster, submit: Submit) -> None:
    wanted, waiting = submit(), submit()

    error = second_comes_while_first_is_at_work(
        wait_for(waiting, wanted), lambda: services.delete(wanted, actor="bob")
    )

    assert type(error) is Conflict
    assert Dependency.objects.get().on == wanted
