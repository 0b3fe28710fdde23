"""`verify` finds nothing in a healthy database, and names each violation."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.utils import timezone

from clusters.models import Cluster, Node
from deployments import lifecycle
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.verify import CHECKS, violations
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit
from tests.support.factories import make_cluster

pytestmark = pytest.mark.django_db


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement)


def drop(table: str, constraint: str) -> None:
    """Drop the constraints that prevent contradictions, until the test ends."""
    sql(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")


def found() -> tuple[str, str]:
    """Return the check that found the only violation, and its message."""
    (sentence,) = violations()
    check, message = sentence.split(": ", 1)
    assert check in CHECKS
    return check, message


def test_an_empty_database_is_healthy() -> None:
    assert list(violations()) == []


def test_deployments_in_every_status_are_healthy(bring: Bring, submit: Submit) -> None:
    first, *_ = [bring(status) for status in Status]
    submit(depends_on=(Wait(first.pk),))

    assert list(violations()) == []


def test_a_cluster_full_to_the_brim_is_healthy(bring: Bring) -> None:
    bring(Status.RUNNING, cpu_milli=8000, ram_mib=16384, gpu=2)

    assert list(violations()) == []


@pytest.mark.parametrize("dimension", ["cpu_milli", "ram_mib", "gpu"])
def test_an_oversubscribed_node_is_found(bring: Bring, forge: Cluster, dimension: str) -> None:
    for _ in range(2):
        bring(Status.RUNNING, cpu_milli=4000, ram_mib=8192, gpu=1)

    Cluster.objects.update(**{dimension: getattr(forge, dimension) - 1})

    check, message = found()
    assert check == "oversubscribed node"
    assert f"(forge) of cluster {forge.pk}: 8000 of " in message


def test_a_cluster_whose_capacity_is_not_the_sum_of_its_nodes_is_found(forge: Cluster) -> None:
    Node.objects.update(ram_mib=F("ram_mib") - 1)

    check, message = found()

    assert check == "cluster whose capacity is not the sum of its nodes"
    assert message == (
        f"cluster {forge.pk} (forge): 8000 millicores, 16384 MiB, 2 GPU, its 1 nodes 8000, 16383, 2"
    )


def test_a_deployment_and_a_run_on_a_node_of_another_cluster_are_found(
    bring: Bring, forge: Cluster, acme: Organization
) -> None:
    deployment = bring(Status.RUNNING)
    elsewhere = make_cluster(acme, "anvil").nodes.get()
    Deployment.objects.update(node=elsewhere, cpu_milli=1, ram_mib=1)
    Run.objects.update(node=elsewhere, cpu_milli=1, ram_mib=1)
    run = deployment.runs.get()

    assert sorted(violations()) == [
        "deployment or run on no node of its cluster: "
        f"{what} is on cluster {forge.pk} and on node {elsewhere.pk}"
        for what in (f"deployment {deployment.pk}", f"run {run.pk} of deployment {deployment.pk}")
    ]


@pytest.mark.parametrize("status", ["pending", "stopping", "completed", "failed"])
def test_an_open_run_of_an_inactive_deployment_is_found(
    bring: Bring, forge: Cluster, status: str
) -> None:
    deployment = bring(Status(status))
    run = Run.objects.create(
        deployment=deployment,
        cluster=forge,
        placed_at=deployment.created_at,
        cpu_milli=1,
        ram_mib=1,
    )

    check, message = found()

    assert check == "run open for a deployment that is not active"
    assert message == f"run {run.pk} of deployment {deployment.pk}, which is {status}"


@pytest.mark.parametrize("status", ["starting", "running"])
def test_an_active_deployment_without_a_run_is_found(
    bring: Bring, forge: Cluster, status: str
) -> None:
    deployment = bring(Status(status))
    deployment.runs.all().delete()

    check, message = found()

    assert check == "active deployment without a run of its own"
    assert message == f"deployment {deployment.pk} is {status} on cluster {forge.pk}"


@pytest.mark.parametrize("wrong", [{"cpu_milli": 1}, {"ram_mib": 1}, {"gpu": 1}, {"cluster": None}])
def test_a_run_whose_request_or_cluster_differs_from_its_deployment_is_found(
    bring: Bring, wrong: dict[str, int | None]
) -> None:
    bring(Status.RUNNING).runs.update(**wrong)

    assert found()[0] == "active deployment without a run of its own"


def test_a_status_without_an_event_is_found(bring: Bring) -> None:
    deployment = bring(Status.STOPPED)
    Deployment.objects.filter(pk=deployment.pk).update(status="failed")

    check, message = found()

    assert check == "status that contradicts the last event"
    assert message == f"deployment {deployment.pk} is failed, but its last event has status stopped"


def test_a_deployment_without_events_is_found(submit: Submit, forge: Cluster) -> None:
    submit()
    Event.objects.filter(subject="deployment").delete()

    assert found()[1].endswith("but its last event has status none")


def test_a_deployment_on_a_cluster_of_another_organization_is_found(
    bring: Bring, globex_cluster: Cluster
) -> None:
    deployment = bring(Status.RUNNING)
    Deployment.objects.update(cluster=globex_cluster)
    Run.objects.update(cluster=globex_cluster, node=globex_cluster.nodes.get())

    check, message = found()

    assert check == "deployment on a cluster of another organization"
    assert message == f"deployment {deployment.pk} on cluster {globex_cluster.pk}"


def test_a_deployment_that_requests_a_cluster_of_another_organization_is_found(
    submit: Submit, forge: Cluster, globex_cluster: Cluster
) -> None:
    submit()
    Deployment.objects.update(requested_cluster=globex_cluster)

    assert found()[0] == "deployment on a cluster of another organization"


def test_a_deployment_on_a_cluster_that_it_did_not_request_is_found(
    bring: Bring, forge: Cluster, acme: Organization
) -> None:
    anvil = make_cluster(acme, "anvil")
    deployment = bring(Status.RUNNING)
    Deployment.objects.update(requested_cluster=anvil)

    check, message = found()

    assert check == "deployment on a cluster where it may not run"
    assert f"deployment {deployment.pk} is on cluster {forge.pk}" in message


def test_dependencies_that_form_a_circle_are_found(submit: Submit, forge: Cluster) -> None:
    first = submit()
    second = submit(depends_on=(Wait(first.pk),))
    first.dependencies.create(on=second)

    sentences = sorted(violations())

    assert sentences == [
        f"dependencies that form a circle: deployment {d.pk} waits for itself"
        for d in (first, second)
    ]


def test_a_run_whose_container_no_cluster_would_end_is_found(bring: Bring) -> None:
    deployment = bring(Status.STOPPED)
    deployment.runs.update(cluster=None)

    check, message = found()

    assert check == "container that no cluster would end"
    assert f"of deployment {deployment.pk}" in message


def test_a_stopping_deployment_without_an_unfinished_run_is_found(bring: Bring) -> None:
    deployment = bring(Status.STOPPING)
    deployment.runs.update(ended_at=timezone.now())

    check, message = found()

    assert check == "stopping deployment whose run has ended"
    assert f"deployment {deployment.pk}" in message


def test_a_stopping_deployment_without_any_run_is_found(bring: Bring) -> None:
    bring(Status.STOPPING).runs.all().delete()

    assert found()[0] == "stopping deployment whose run has ended"


def test_an_active_deployment_on_hold_is_found(bring: Bring) -> None:
    bring(Status.RUNNING)
    Deployment.objects.update(held=True)

    assert found()[0] == "deployment on hold that is not pending"


@pytest.mark.parametrize("model", [Deployment, Run])
def test_a_running_deployment_that_never_started_is_found(
    bring: Bring, model: type[Deployment] | type[Run]
) -> None:
    bring(Status.RUNNING)
    model._default_manager.update(started_at=None)

    assert found()[0] == "running deployment that never started"


@pytest.mark.parametrize("field", ["launched_at", "started_at", "released_at", "ended_at"])
def test_a_run_whose_times_contradict_each_other_is_found(bring: Bring, field: str) -> None:
    run = bring(Status.STOPPED).runs.get()
    times = {"released_at": run.placed_at, "ended_at": run.placed_at}
    wrong = run.placed_at - timedelta(minutes=2)
    Run.objects.update(**times | {field: wrong})

    assert found()[0] == "times that contradict each other"


@pytest.mark.parametrize("field", ["placed_at", "launched_at", "started_at"])
def test_a_run_with_times_in_the_future_is_found(bring: Bring, field: str) -> None:
    bring(Status.RUNNING)
    later = timezone.now() + timedelta(minutes=5)
    Run.objects.update(**{"launched_at": later, "started_at": later, field: later})

    assert found()[0] == "time in the future"


@pytest.mark.parametrize("field", ["ready_after", "suspended_until"])
def test_an_impossible_back_off_is_found(bring: Bring, field: str) -> None:
    bring(Status.PENDING)
    Deployment.objects.update(**{field: timezone.now() + timedelta(minutes=61)})
    assert list(violations()) == []

    Deployment.objects.update(**{field: timezone.now() + timedelta(hours=2)})

    assert found()[0] == "time in the future"


def test_a_gpu_allocated_to_two_runs_is_found(bring: Bring, forge: Cluster) -> None:
    runs = [bring(Status.RUNNING).runs.get() for _ in range(3)]
    for run, devices in zip(runs, (["g0", "g1"], ["g1"], ["g2"]), strict=True):
        Run.objects.filter(pk=run.pk).update(devices=devices)

    check, message = found()

    assert check == "GPU allocated to two runs at once"
    node, pair = forge.nodes.get(), f"{runs[0].pk} and {runs[1].pk}"
    assert message == f"GPU g1 of node {node.pk} of cluster {forge.pk}: runs {pair}"


def test_a_status_that_does_not_exist_is_found_even_without_its_constraint(bring: Bring) -> None:
    bring(Status.PENDING)
    drop("deployments_deployment", "status_known")
    sql("UPDATE deployments_deployment SET status = 'asleep'")

    assert found()[0] == "status that contradicts the last event"


def test_every_violation_is_printed_and_the_command_fails(bring: Bring) -> None:
    for _ in range(2):
        bring(Status.RUNNING).runs.all().delete()
    output = StringIO()

    with pytest.raises(CommandError, match=r"^2 violations\.$"):
        call_command("verify", stderr=output)

    assert output.getvalue().count("active deployment without a run of its own") == 2


def test_the_command_reports_that_all_is_well(bring: Bring) -> None:
    bring(Status.RUNNING)
    output = StringIO()

    call_command("verify", stdout=output)

    assert f"All is well: {len(CHECKS)} checks" in output.getvalue()


def test_a_database_stays_healthy_through_evictions_moves_and_drains(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    for priority in (10, 20, 90):
        for _ in range(3):
            submit(cpu_milli=3000, priority=priority)
        run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
        assert list(violations()) == []

    Cluster.objects.update(state=Cluster.State.DRAINING)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    assert not Deployment.objects.active().exists()
    assert list(violations()) == []


def test_a_deployment_changed_without_the_services_is_found(bring: Bring) -> None:
    deployment = bring(Status.RUNNING)
    change = Change(deployment.pk, "why")
    transition(lifecycle.COMPLETE, [change], actor="x", now=deployment.created_at)
    Event.objects.filter(subject_id=deployment.pk, kind="completed").delete()

    assert found()[0] == "status that contradicts the last event"


def test_the_result_is_printed_as_json(bring: Bring) -> None:
    running = bring(Status.RUNNING)
    printed = StringIO()
    call_command("verify", json=True, stdout=printed)
    assert json.loads(printed.getvalue()) == {
        "healthy": True, "checks": len(CHECKS), "violations": [], "engines_compared": 1,
        "engines_not_compared": [],
    }  # fmt: skip

    running.runs.all().delete()
    printed = StringIO()
    with pytest.raises(CommandError, match="1 violation"):
        call_command("verify", json=True, stdout=printed)

    document = json.loads(printed.getvalue())
    assert document["healthy"] is False
    assert document["violations"] == list(violations())
