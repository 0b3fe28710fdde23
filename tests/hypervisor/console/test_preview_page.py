"""The page between an action and its confirmation."""

import re
from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event, Organization
from tests.fixtures.deployments import Bring, Submit
from tests.support.console import address, confirm

pytestmark = pytest.mark.django_db

ANSWER = {"priority": 77, "target": "", "cpu": "16", "ram": "32Gi", "gpu": 4}
"""The options of all actions."""


@pytest.mark.parametrize(
    ("action", "before", "after", "kind"),
    [
        ("hold", Status.PENDING, Status.PENDING, "held"),
        ("reprioritize", Status.PENDING, Status.PENDING, "updated"),
        ("preempt", Status.RUNNING, Status.PENDING, "evicted"),
        ("requeue", Status.RUNNING, Status.PENDING, "requeued"),
        ("move", Status.RUNNING, Status.STARTING, "moved"),
        ("cancel", Status.PENDING, Status.CANCELLED, "cancelled"),
        ("stop", Status.RUNNING, Status.STOPPING, "stop_requested"),
        ("start", Status.FAILED, Status.PENDING, "restarted"),
    ],
)
def test_actions_on_deployments_are_recorded_with_their_actor(
    console: Client, acme: Organization, bring: Bring, action: str, before: Status, after: Status,
    kind: str,
) -> None:  # fmt: skip
    deployment = bring(before)
    cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(8000, 16384, 2)
    )

    messages = confirm(console, action, deployment, **ANSWER)

    deployment.refresh_from_db()
    event = Event.objects.filter(subject="deployment").latest("pk")
    assert deployment.status == after
    assert (event.kind, event.actor) == (kind, "olga")
    assert len(messages) == 1
    assert messages[0].startswith("job: ")


@pytest.mark.parametrize(
    ("action", "kind"),
    [("cordon", "cordoned"), ("drain", "draining"), ("uncordon", "active"), ("resize", "updated")],
)
def test_actions_on_clusters_are_recorded_with_their_actor(
    console: Client, forge: Cluster, action: str, kind: str
) -> None:
    if action == "uncordon":
        cluster_services.cordon(forge, actor="alice")

    confirm(console, action, forge, **ANSWER)

    assert Event.objects.get(subject="cluster", kind=kind).actor == "olga"


@pytest.mark.parametrize("action", ["hold", "stop", "preempt", "cancel"])
def test_an_action_on_deployments_does_nothing_before_it_is_confirmed(
    console: Client, bring: Bring, action: str
) -> None:
    rows = [bring(Status.PENDING), bring(Status.RUNNING)]
    events = Event.objects.count()

    answer = console.post(
        reverse("admin:deployments_deployment_changelist"),
        {"action": action, "_selected_action": [row.pk for row in rows]},
        follow=True,
    )

    assert Event.objects.count() == events
    assert [row.subject for row in answer.context["preview"].touched] == [r.pk for r in rows]


@pytest.mark.parametrize("action", ["cordon", "drain"])
def test_an_action_on_clusters_does_nothing_before_it_is_confirmed(
    console: Client, forge: Cluster, action: str
) -> None:
    answer = console.post(
        reverse("admin:clusters_cluster_changelist"),
        {"action": action, "_selected_action": [forge.pk]},
        follow=True,
    )

    forge.refresh_from_db()
    assert forge.state == "active"
    assert answer.context["preview"].touched[0].name == "forge"


def test_a_deployment_on_hold_is_released(console: Client, submit: Submit, forge: Cluster) -> None:
    deployment = submit()
    services.hold(deployment, actor="alice")

    confirm(console, "release", deployment)

    deployment.refresh_from_db()
    assert not deployment.held


def test_the_page_shows_what_starts_and_what_is_evicted_and_why(
    console: Client, bring: Bring, submit: Submit
) -> None:
    victim, preemptor = bring(Status.RUNNING, gpu=2, name="low"), submit(gpu=2, name="high")

    page = console.get(address("reprioritize", preemptor, priority=90)).content.decode()

    assert "Would be evicted" in page
    assert "by preempting 1 deployment below priority 90" in page
    victim.refresh_from_db()
    assert victim.status == Status.RUNNING


def test_a_move_shows_its_target_and_its_reason(
    console: Client, acme: Organization, bring: Bring
) -> None:
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(8000, 16384, 2)
    )

    page = console.get(address("move", bring(Status.RUNNING), target=anvil.pk)).content.decode()

    assert "forge → anvil" in page
    assert "Moved by olga to anvil, which has enough free capacity." in page
    assert "Nothing changes for it" not in page


def test_a_services_refusal_is_shown_before_and_after_the_confirmation(
    console: Client, bring: Bring
) -> None:
    ended, pending = bring(Status.COMPLETED), bring(Status.PENDING)
    refusal = (
        f"Deployment {ended.pk} is completed; only a pending deployment can be held: start it again"
        " first."
    )

    page = console.get(address("hold", ended, pending)).content.decode()
    messages = confirm(console, "hold", ended, pending)

    assert refusal in page
    assert messages == ["job: put on hold.", refusal]


def test_an_action_that_every_subject_refuses_cannot_be_confirmed(
    console: Client, bring: Bring, forge: Cluster
) -> None:
    bring(Status.RUNNING, gpu=2)

    page = console.get(address("resize", forge, cpu=8, ram="16Gi", gpu=1)).content.decode()

    assert "cannot shrink" in page
    assert "The action is refused" in page
    assert 'name="shown"' not in page


def test_changed_consequences_have_to_be_confirmed_again(
    console: Client, bring: Bring, submit: Submit
) -> None:
    running = bring(Status.RUNNING, gpu=2)
    page = address("stop", running)
    shown = console.get(page).context["preview"].fingerprint
    submit(gpu=2, name="newcomer")

    again = console.post(page, {"shown": shown})

    running.refresh_from_db()
    assert running.status == Status.RUNNING
    assert "Nothing was done: the situation has changed" in again.content.decode()
    assert "newcomer" in again.content.decode()
    assert console.post(page, {"shown": again.context["preview"].fingerprint}).status_code == 302


def test_nothing_is_done_without_a_preview(console: Client, bring: Bring) -> None:
    running = bring(Status.RUNNING)

    answer = console.post(address("stop", running))

    running.refresh_from_db()
    assert (answer.status_code, running.status) == (200, Status.RUNNING)


@pytest.mark.parametrize("priority", ["", "0", "101", "high", "²"])
def test_an_invalid_priority_is_reported_and_nothing_is_previewed(
    console: Client, submit: Submit, forge: Cluster, priority: str
) -> None:
    page = address("reprioritize", submit(), priority=priority)

    answers = [console.get(page), console.post(page, {"shown": ""})]

    for answer in answers:
        assert answer.context["preview"] is None
        assert answer.context["form"].errors
    assert Deployment.objects.get().priority == 50


@pytest.mark.parametrize(("field", "value"), [("cpu", "many"), ("ram", "16"), ("gpu", "-1")])
def test_an_invalid_capacity_is_reported(
    console: Client, forge: Cluster, field: str, value: str
) -> None:
    answer = console.get(address("resize", forge, **(ANSWER | {field: value})))

    assert list(answer.context["form"].errors) == [field]


def test_a_cluster_of_another_organization_is_no_target(
    console: Client, bring: Bring, globex_cluster: Cluster
) -> None:
    answer = console.get(address("move", bring(Status.RUNNING), target=globex_cluster.pk))

    assert list(answer.context["form"].errors) == ["target"]


def test_the_priority_of_many_deployments_is_changed_at_once(console: Client, bring: Bring) -> None:
    rows = [bring(Status.PENDING), bring(Status.RUNNING)]

    messages = confirm(console, "reprioritize", *rows, priority=77)

    assert messages == ["2 deployments: given another priority."]
    assert {d.priority for d in Deployment.objects.all()} == {77}
    assert Event.objects.filter(kind="updated", actor="olga").count() == 2


def test_too_few_and_too_many_subjects_are_refused(console: Client, forge: Cluster) -> None:
    none = console.get(address("stop"))
    many = console.get(address("drain", forge, ids=",".join(map(str, range(1, 302)))))

    shown = [str(m) for answer in (none, many) for m in get_messages(answer.wsgi_request)]
    assert [answer.status_code for answer in (none, many)] == [302, 302]
    assert "Choose the deployments first." in shown
    assert "Choose at most 300 at once: there are more." in shown


def test_an_unknown_action_does_not_exist(console: Client) -> None:
    assert console.get(address("explode")).status_code == 404


def test_the_link_back_never_leads_to_another_host(console: Client, bring: Bring) -> None:
    page = address("stop", bring(Status.RUNNING), next="https://example.org/")

    assert console.get(page).context["back"] == reverse("queue")


def test_a_move_to_a_node_is_previewed_and_made(
    console: Client, bring: Bring, rack: Cluster
) -> None:
    running, node = bring(Status.RUNNING), rack.nodes.all()[1]

    page = console.get(address("move", running, node=node.pk)).content.decode()
    confirm(console, "move", running, node=node.pk)

    assert "forge → gpu-2 of rack" in page
    running.refresh_from_db()
    assert (running.node, running.requested_cluster) == (node, None)


def test_a_move_is_to_a_cluster_or_to_a_node(console: Client, bring: Bring, rack: Cluster) -> None:
    both = {"target": rack.pk, "node": rack.nodes.all()[0].pk}

    answer = console.get(address("move", bring(Status.RUNNING), **both))

    assert "Choose either a cluster or a node." in answer.content.decode()
    assert answer.context["preview"] is None


def test_the_run_time_that_would_be_lost_is_shown_sorted_and_in_sum(
    console: Client, forge: Cluster, bring: Bring
) -> None:
    now = timezone.now()
    for name, hours, checkpoint_min in (("young", 1, None), ("old", 5, None), ("safe", 9, 10)):
        running = bring(Status.RUNNING, name=name)
        checkpoint = now - timedelta(minutes=checkpoint_min) if checkpoint_min else None
        Deployment.objects.filter(pk=running.pk).update(
            started_at=now - timedelta(hours=hours), checkpoint_at=checkpoint
        )

    page = console.get(address("drain", forge)).content.decode()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())

    assert "Run time lost 6 h 10 min" in text
    assert [page.index(f">{name}<") for name in ("old", "young", "safe")] == sorted(
        page.index(f">{name}<") for name in ("old", "young", "safe")
    )
    assert "5 h since its start" in text
    assert "10 min since its last checkpoint" in text


def test_a_preview_that_interrupts_nothing_loses_nothing(
    console: Client, submit: Submit, forge: Cluster
) -> None:
    page = console.get(address("hold", submit())).content.decode()

    assert "no container is interrupted" in page


def test_a_note_is_kept_with_the_events_and_the_audit_trail(
    console: Client, bring: Bring, forge: Cluster
) -> None:
    deployment = bring(Status.RUNNING, name="job")

    confirm(console, "stop", deployment, note="  costs too much  ")
    event = Event.objects.filter(subject="deployment").latest("pk")
    trail = console.get("/admin/accounts/auditentry/").content.decode()

    assert event.data["note"] == "costs too much"
    assert Event.objects.filter(data__has_key="note").count() == 1
    page = console.get(reverse("admin:deployments_deployment_change", args=[deployment.pk]))
    assert "Note: costs too much" in page.content.decode()
    confirm(console, "cordon", forge, note="disk fails")
    trail = console.get("/admin/accounts/auditentry/").content.decode()
    assert "disk fails" in trail


def test_without_a_note_none_is_kept(console: Client, bring: Bring) -> None:
    confirm(console, "stop", bring(Status.RUNNING))

    assert not Event.objects.filter(data__has_key="note").exists()


def test_a_note_that_is_too_long_does_nothing(console: Client, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)

    response = console.post(address("stop", deployment), {"note": "x" * 501, "shown": ""})

    assert "at most 500" in response.content.decode()
    deployment.refresh_from_db()
    assert deployment.status == Status.RUNNING
