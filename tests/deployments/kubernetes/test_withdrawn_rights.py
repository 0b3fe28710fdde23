"""Rights that are withdrawn from the service account after the cluster was connected."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from clusters import drivers
from clusters.drivers.kubernetes import following
from clusters.models import Cluster, Connection
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.monitoring import alarms, health
from scheduling.monitoring.alarm import Alarm
from scheduling.monitoring.alarms import Hour
from tests.deployments.kubernetes.conftest import connected
from tests.fixtures.deployments import Submit
from tests.support.docker_engine import wait_until
from tests.support.kube_api import Account, KubeCluster
from tests.support.kube_api.status import ApiError
from tests.support.kubernetes import IMAGE, UNTIL_ASKED, account_without_others_pods, without
from tests.support.reconcile import driver_of, reconcile

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def asks_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no pause after a refusal."""
    monkeypatch.setattr(following, "PAUSE_S", 0)


def withdraw(kube: KubeCluster, verb: str, resource: str) -> Account:
    """Withdraw the right; return the account that had it."""
    granted = kube.accounts[0]
    kube.accounts[0] = Account(granted.name, granted.token, without(granted, verb, resource))
    return granted


def nodes_of(cluster: Cluster) -> list[tuple[str, str, int]]:
    return list(cluster.nodes.order_by("name").values_list("name", "state", "cpu_milli"))


def page(console: Client, cluster: Cluster) -> str:
    return console.get(reverse("cluster", args=[cluster.pk])).content.decode()


def started(submit: Submit, organization: Organization, cluster: Cluster) -> Deployment:
    job = submit(image=IMAGE, command=UNTIL_ASKED)
    run_cycle(organization.pk, SchedulingCycle.Trigger.MANUAL)
    reconcile(cluster.pk)
    job.refresh_from_db()
    return job


def raised() -> list[Alarm]:
    now = timezone.now()
    found = alarms.alarms(now, health.read(now, None), None, Hour(0, 0, 0))
    return [alarm for alarm in found if "are incomplete or out of date" in alarm.title]


def test_the_nodes_stay_and_an_alarm_names_the_right_until_it_is_granted_again(
    kube: KubeCluster, east: Cluster, submit: Submit, console: Client
) -> None:
    before = nodes_of(east)
    granted = withdraw(kube, "list", "nodes")
    kube.nodes[0].unschedulable = True

    reconcile(east.pk)

    (alarm,) = raised()
    assert (alarm.level, alarm.pk) == ("warning", east.pk)
    assert "may not `list` `nodes` any more" in alarm.detail
    assert "Grant the ClusterRole in docs/operating.md" in alarm.detail
    assert nodes_of(east) == before
    assert "Its nodes are incomplete or out of date" in page(console, east)

    kube.accounts[0] = granted
    reconcile(east.pk)

    assert raised() == []
    assert [state for _, state, _ in nodes_of(east)] == ["cordoned", "active"]
    assert "Its nodes are incomplete or out of date" not in page(console, east)


def test_deployments_run_on_the_nodes_that_were_reported_last(
    kube: KubeCluster, east: Cluster, submit: Submit, acme: Organization
) -> None:
    withdraw(kube, "list", "nodes")
    reconcile(east.pk)

    job = started(submit, acme, east)

    assert job.status in (Status.STARTING, Status.RUNNING)
    (pod,) = kube.store.all()[0]
    assert pod["spec"]["affinity"]
    assert job.node in east.nodes.all()


def test_a_watch_that_is_refused_is_named_although_the_nodes_are_listed(
    kube: KubeCluster, east: Cluster, submit: Submit, acme: Organization
) -> None:
    withdraw(kube, "watch", "nodes")
    started(submit, acme, east)
    driver = driver_of(east)
    changes = driver.watch()
    next(changes)  # It follows the nodes from here on.
    kube.nodes[0].unschedulable = True
    wait_until(lambda: bool(driver.warnings()), "that the watch is refused")

    reconcile(east.pk)

    (alarm,) = raised()
    assert "may not `watch` `nodes`" in alarm.detail
    assert [state for _, state, _ in nodes_of(east)] == ["cordoned", "active"]


def test_the_pods_of_others_are_named_when_they_can_no_longer_be_listed(
    kube: KubeCluster, east: Cluster
) -> None:
    granted = kube.accounts[0]
    kube.accounts[0] = account_without_others_pods()

    reconcile(east.pk)
    (alarm,) = raised()
    kube.accounts[0] = granted
    reconcile(east.pk)

    assert "may not list the Pods of all namespaces" in alarm.detail
    assert raised() == []


def test_an_engine_that_fails_to_report_its_nodes_raises_the_alarm_too(
    kube: KubeCluster, east: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = nodes_of(east)

    def fails() -> None:
        raise ApiError(500, "InternalError", "etcd is slow")

    monkeypatch.setattr(kube.node_book, "all", fails)

    reconcile(east.pk)

    (alarm,) = raised()
    assert "could not be read" in alarm.detail
    assert nodes_of(east) == before


def test_a_cluster_that_never_had_the_right_raises_no_alarm(
    acme: Organization, kube: KubeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "_drivers", {})
    withdraw(kube, "list", "nodes")
    west = connected(acme, kube)

    reconcile(west.pk)

    assert raised() == []
    assert Connection.objects.get(cluster=west).warnings == []
