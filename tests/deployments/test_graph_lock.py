"""Concurrent changes of dependencies, in real threads."""

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


def test_two_concurrent_changes_cannot_close_a_cycle(forge: Cluster, submit: Submit) -> None:
    one, other = submit(), submit()

    error = run_second_during_first(wait_for(one, other), wait_for(other, one))

    assert (type(error), error.code) == (Invalid, "dependency_cycle")
    assert Dependency.objects.count() == 1


def test_a_dependency_cannot_be_added_on_a_deployment_that_is_being_deleted(
    forge: Cluster, submit: Submit
) -> None:
    going, waiting = submit(), submit()

    error = run_second_during_first(
        lambda: services.delete(going, actor="bob"), wait_for(waiting, going)
    )

    assert (type(error), error.attr) == (Invalid, "depends_on")


def test_a_deployment_cannot_be_deleted_while_a_dependency_on_it_is_added(
    forge: Cluster, submit: Submit
) -> None:
    wanted, waiting = submit(), submit()

    error = run_second_during_first(
        wait_for(waiting, wanted), lambda: services.delete(wanted, actor="bob")
    )

    assert type(error) is Conflict
    assert Dependency.objects.get().on == wanted
