"""The operators' pages of clusters, deployments, runs and cycles."""

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster, SimulatedContainer
from deployments import lifecycle
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.lifecycle import Change, transition
from deployments.models import Dependency, Deployment
from deployments.runtime.models import Run
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit

HISTORY: list[type[Model]] = [Run, SchedulingCycle, SimulatedContainer]
PAGES: list[type[Model]] = [Cluster, Deployment, *HISTORY]


def url(model: type[Model], page: str = "changelist", *arguments: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def act(console: Client, action: str, *objects: Model, **more: object) -> list[str]:
    """Run an action on the objects of a list; return its messages."""
    body = {"action": action, "_selected_action": [str(obj.pk) for obj in objects], **more}
    response = console.post(url(type(objects[0])), body)
    assert response.status_code == 302, response.content[:2000]
    return [str(message) for message in get_messages(response.wsgi_request)]


def grow(acme: Organization, submit: Submit, count: int) -> None:
    """Add this many rows to everything that the lists show."""
    for _ in range(count):
        deployment = submit(cpu_milli=10, ram_mib=1, priority=10)
        cluster_services.create(
            actor="alice", organization=acme, name=f"c{deployment.pk}", capacity=Capacity(1, 1, 0)
        )
        SchedulingCycle.objects.create(
            organization=acme, trigger="change", started_at=timezone.now(), snapshot_us=1,
            plan_us=1, apply_us=1, ready=0, placed=0, evicted=0, moved=0, left_pending=0,
        )  # fmt: skip
    run_cycle(acme.pk, SchedulingCycle.Trigger.MANUAL)
    for run in Run.objects.filter(launched_at=None):
        SimulatedContainer.objects.get_or_create(
            run_id=run.pk,
            defaults={"cluster": Cluster.objects.get(runs=run), "started_at": timezone.now()},
        )


def statements(console: Client, address: str) -> int:
    console.get(address)
    with CaptureQueriesContext(connection) as queries:
        assert console.get(address).status_code == 200
    return len(queries)


@pytest.mark.parametrize("model", PAGES)
def test_a_list_takes_the_same_number_of_queries_at_any_length(
    console: Client, acme: Organization, forge: Cluster, submit: Submit, model: type[Model]
) -> None:
    grow(acme, submit, 1)
    few = statements(console, url(model))
    grow(acme, submit, 19)

    many = statements(console, url(model))

    assert model._default_manager.count() >= 20
    assert many == few


@pytest.mark.parametrize("model", PAGES)
def test_every_row_has_a_page(
    console: Client, acme: Organization, forge: Cluster, submit: Submit, model: type[Model]
) -> None:
    grow(acme, submit, 1)
    row = model._default_manager.all()[0]

    response = console.get(url(model, "change", row.pk))

    assert response.status_code == 200


def test_a_deployments_page_takes_the_same_number_of_queries_for_any_history(
    console: Client, bring: Bring, submit: Submit, forge: Cluster
) -> None:
    deployment = bring(Status.STARTING)
    counts = []
    for more in (1, 19):
        for _ in range(more):
            for verb in (lifecycle.REQUEUE, lifecycle.PLACE):
                change = Change(deployment.pk, "again", cluster=forge.pk)
                transition(verb, [change], actor="system:test", now=timezone.now())
            Dependency.objects.create(deployment=deployment, on=submit())
        counts.append(statements(console, url(Deployment, "change", deployment.pk)))

    assert counts[0] == counts[1]


@pytest.mark.parametrize("model", HISTORY)
def test_history_is_read_only(
    console: Client, acme: Organization, forge: Cluster, submit: Submit, model: type[Model]
) -> None:
    grow(acme, submit, 1)
    row = model._default_manager.all()[0]
    page = url(model, "change", row.pk)

    answers = [
        console.get(url(model, "add")), console.post(page, {}),
        console.post(url(model, "delete", row.pk), {"post": "yes"}),
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert "_save" not in console.get(page).content.decode()
    assert url(model, "add") not in console.get(url(model)).content.decode()
    assert model._default_manager.filter(pk=row.pk).exists()


def test_a_deployment_cannot_be_added_in_the_admin(console: Client) -> None:
    assert console.get(url(Deployment, "add")).status_code == 403


def test_a_deployments_page_shows_no_environment(
    console: Client, submit: Submit, forge: Cluster
) -> None:
    deployment = submit(env={"TOKEN": "very-secret"})

    page = console.get(url(Deployment, "change", deployment.pk)).content.decode()

    assert "very-secret" not in page


def test_cycles_are_run_for_the_organizations_of_chosen_cycles(
    console: Client, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    deployment = submit()

    messages = act(console, "run_for_these", SchedulingCycle.objects.get())

    deployment.refresh_from_db()
    assert deployment.status == Status.STARTING
    assert messages == ["Acme: 1 placed, 0 evicted."]


def test_all_due_cycles_are_run_at_once(
    console: Client, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit()

    shown = console.get(url(SchedulingCycle, "run_all"))
    assert [len(row.plan.placements) for row in shown.context["due"]] == [1]
    assert not Deployment.objects.filter(status=Status.STARTING).exists()

    response = console.post(url(SchedulingCycle, "run_all"))

    deployment.refresh_from_db()
    assert response.status_code == 302
    assert deployment.status == Status.STARTING


def test_an_action_on_clusters_requests_a_cycle(
    console: Client, forge: Cluster, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        messages = act(console, "run_cycle", forge)

    assert messages == ["Requested 1 cycle."]
    assert len(callbacks) == 1


def cluster_form(organization: Organization, **fields: object) -> dict[str, object]:
    return {
        "organization": organization.pk, "name": "forge", "cpu_milli": 8000, "ram_mib": 16384,
        "gpu": 2, **fields,
    }  # fmt: skip


def test_a_cluster_is_added_by_the_service(console: Client, acme: Organization) -> None:
    response = console.post(url(Cluster, "add"), cluster_form(acme))

    assert response.status_code == 302
    assert Event.objects.get(subject="cluster").actor == "olga"
    assert Cluster.objects.get().organization == acme


@pytest.mark.parametrize("page", ["add", "change"])
def test_a_cluster_cannot_take_the_name_of_another(
    console: Client, acme: Organization, forge: Cluster, page: str
) -> None:
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(1, 1, 0)
    )
    address = url(Cluster, page, *([anvil.pk] if page == "change" else []))

    response = console.post(address, cluster_form(acme), follow=True)

    assert response.status_code == 200
    assert Cluster.objects.filter(name="forge").count() == 1
    assert Cluster.objects.count() == 2


@pytest.mark.parametrize("by", ["button", "action"])
def test_a_cluster_in_use_cannot_be_deleted_and_the_page_shows_why(
    console: Client, forge: Cluster, bring: Bring, by: str
) -> None:
    bring(Status.RUNNING)

    if by == "action":
        messages = act(console, "delete_selected", forge, post="yes")
    else:
        response = console.post(url(Cluster, "delete", forge.pk), {"post": "yes"})
        messages = [str(message) for message in get_messages(response.wsgi_request)]

    assert any("drain it or stop them first" in message for message in messages)
    assert Cluster.objects.filter(pk=forge.pk).exists()


@pytest.mark.parametrize("by", ["button", "action"])
def test_an_ended_deployment_is_deleted_by_the_service(
    console: Client, bring: Bring, by: str
) -> None:
    deployment = bring(Status.FAILED)

    if by == "action":
        act(console, "delete_selected", deployment, post="yes")
    else:
        console.post(url(Deployment, "delete", deployment.pk), {"post": "yes"})

    assert not Deployment.objects.exists()
    assert Event.objects.get(kind="deleted").actor == "olga"


def test_the_name_and_preemptibility_of_a_deployment_are_changed_by_the_service(
    console: Client, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)

    response = console.post(
        url(Deployment, "change", deployment.pk), inlines() | {"name": "renamed"}
    )

    assert response.status_code == 302
    deployment.refresh_from_db()
    assert (deployment.name, deployment.preemptible) == ("renamed", False)
    assert deployment.status == Status.RUNNING
    assert Event.objects.filter(kind="updated", actor="olga").count() == 2


def test_an_ended_deployment_cannot_be_changed_and_the_page_shows_why(
    console: Client, bring: Bring
) -> None:
    deployment = bring(Status.FAILED)

    response = console.post(
        url(Deployment, "change", deployment.pk),
        inlines() | {"name": "renamed", "preemptible": "on"},
    )

    (message,) = get_messages(response.wsgi_request)
    assert "has ended (failed) and cannot be changed" in str(message)
    deployment.refresh_from_db()
    assert deployment.name == "job"


def inlines() -> dict[str, object]:
    """Return the form data of the inlines."""
    return {
        f"{prefix}-{name}_FORMS": 0
        for prefix in ("runs", "dependencies")
        for name in ("TOTAL", "INITIAL")
    }


def test_a_filter_and_a_search_find_a_deployment(
    console: Client, bring: Bring, submit: Submit
) -> None:
    running = bring(Status.RUNNING, name="needle", depends_on=(Wait(submit().pk),))

    for query in ({"status__exact": "running"}, {"q": "needle"}, {"q": str(running.pk)}):
        page = console.get(url(Deployment), query, follow=True).content.decode()
        assert "needle" in page
