"""Real threads: no two transactions can each do half of what would be wrong together."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from clusters.models import Cluster
from deployments import services
from deployments.dependencies import Wait
from deployments.models import Dependency, Deployment
from deployments.specs import Spec
from hypervisor.base.errors import Conflict, Invalid
from tests.fixtures.deployments import Submit
from tests.support.locks import run_second_during_first

pytestmark = pytest.mark.django_db(transaction=True)


def wait_for(waiting: Deployment, other: Deployment) -> Callable[[], object]:
    changed = replace(Spec.of(waiting), depends_on=(Wait(other.pk),))
    return lambda: services.update(waiting, actor="bob", spec=changed)


def test_two_at_once_do_not_close_a_circle(forge: Cluster, submit: Submit) -> None:
    one, other = submit(), submit()

    error = run_second_during_first(wait_for(one, other), wait_for(other, one))

    assert (type(error), error.code) == (Invalid, "dependency_cycle")
    assert Dependency.objects.count() == 1


def test_nobody_begins_to_wait_for_what_is_being_deleted(forge: Cluster, submit: Submit) -> None:
    going, waiting = submit(), submit()

    error = run_second_during_first(
        lambda: services.delete(going, actor="bob"), wait_for(waiting, going)
    )

    assert (type(error), error.attr) == (Invalid, "depends_on")


def test_nobody_deletes_what_somebody_begins_to_wait_for(forge: Cluster, submit: Submit) -> None:
    wanted, waiting = submit(), submit()

    error = run_second_during_first(
        wait_for(waiting, wanted), lambda: services.delete(wanted, actor="bob")
    )

    assert type(error) is Conflict
    assert Dependency.objects.get().on == wanted
