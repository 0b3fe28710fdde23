"""The page of one cluster: its deployments, timeline, reservation and drain."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from clusters import services as cluster_services
from clusters.models import Cluster, Connection
from deployments.models import Deployment, Run, Status
from deployments.runtime.reconcile import reconcile
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit

pytestmark = pytest.mark.django_db

CHANGE = SchedulingCycle.Trigger.CHANGE


def page(console: Client, cluster: Cluster, **query: str) -> str:
    answer = console.get(reverse("cluster", args=[cluster.pk]), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_shows_its_deployments_with_their_shares(
    console: Client, bring: Bring, forge: Cluster
) -> None:
    row = bring(Status.RUNNING, gpu=1, name="needle")

    answer = console.get(reverse("cluster", args=[forge.pk]))

    assert "needle" in answer.content.decode()
    assert answer.context["shares"] == {row.pk: 0.5}
    assert [bar.allocated for bar in answer.context["bars"]] == [1000, 1024, 1]


def test_the_timeline_links_a_victim_with_its_preemptor(
    console: Client, bring: Bring, submit: Submit, forge: Cluster, acme: Organization
) -> None:
    bring(Status.RUNNING, gpu=2, priority=10, name="victim")
    submit(gpu=2, priority=90, name="preemptor")
    run_cycle(acme.pk, CHANGE)

    text = page(console, forge)

    assert "victim was preempted for preemptor" in text
    assert "1 of them preempted" in text


@pytest.mark.parametrize(("span", "seen"), [("15m", 0), ("1h", 1), ("7d", 1), ("nonsense", 1)])
def test_the_window_is_chosen(
    console: Client, bring: Bring, forge: Cluster, span: str, seen: int
) -> None:
    bring(Status.COMPLETED)
    before = timezone.now() - timedelta(minutes=30)
    Run.objects.update(placed_at=before - timedelta(minutes=5), released_at=before)

    answer = console.get(reverse("cluster", args=[forge.pk]), {"span": span})

    assert len(answer.context["timeline"].bars) == seen


def test_a_drain_shows_its_progress_until_it_is_over(
    console: Client, submit: Submit, forge: Cluster, acme: Organization
) -> None:
    submit(), submit()
    run_cycle(acme.pk, CHANGE)
    reconcile(forge.pk)
    cluster_services.drain(forge, actor="olga")

    begun = page(console, forge)
    run_cycle(acme.pk, CHANGE)
    leaving = page(console, forge)
    Run.objects.update(ended_at=timezone.now())
    over = page(console, forge)

    assert "0 of 2 deployments no longer run here" in begun
    assert "2 of 2 deployments no longer run here; 2 containers still stopping" in leaving
    assert "Drained: nothing runs here" in over
    assert "<strong>olga</strong>" in over


def test_reserved_capacity_is_shown_with_its_deployment(
    console: Client, bring: Bring, submit: Submit, forge: Cluster
) -> None:
    bring(Status.RUNNING, gpu=1, max_runtime_s=3600)
    starving = submit(gpu=2, name="patient")
    long_ago = timezone.now() - timedelta(hours=2)
    Deployment.objects.filter(pk=starving.pk).update(queued_at=long_ago)

    answer = console.get(reverse("cluster", args=[forge.pk]))

    assert answer.context["reserved"].name == "patient"
    assert [bar.reserved for bar in answer.context["bars"]] == [1000, 1024, 1]


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        ("active", ["cordon", "drain", "resize"]),
        ("cordoned", ["uncordon", "drain", "resize"]),
        ("draining", ["uncordon", "cordon", "resize"]),
    ],
)
def test_it_offers_the_actions_that_apply_in_its_state(
    console: Client, forge: Cluster, state: str, offered: list[str]
) -> None:
    steps = {"cordoned": cluster_services.cordon, "draining": cluster_services.drain}
    if state in steps:
        steps[state](forge, actor="alice")

    answer = console.get(reverse("cluster", args=[forge.pk]))

    assert [action.name for action in answer.context["steps"]] == offered


def test_a_cluster_that_does_not_exist_has_no_page(console: Client) -> None:
    assert console.get(reverse("cluster", args=[4711])).status_code == 404


def silence(cluster: Cluster, seconds: int) -> None:
    """Make the cluster's engine silent for this long."""
    now = timezone.now()
    Connection.objects.create(
        cluster=cluster,
        endpoint="tcp://engine:2376",
        engine_id="engine",
        probed_at=now,
        lost_contact_at=now - timedelta(seconds=seconds),
        last_error="connection refused",
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "did not answer the last call"), (900, "No contact")]
)
def test_an_engine_that_does_not_answer_is_shown_with_the_remedy(
    console: Client, forge: Cluster, seconds: int, text: str
) -> None:
    silence(forge, seconds)

    answer = console.get(reverse("cluster", args=[forge.pk]))

    assert text in answer.content.decode()
    assert "connection refused" in answer.content.decode()
    assert "declare_lost" in [action.name for action in answer.context["steps"]]


def test_the_preview_shows_what_is_queued_again_from_a_lost_cluster(
    console: Client, bring: Bring, forge: Cluster
) -> None:
    row = bring(Status.RUNNING)
    silence(forge, 3600)

    answer = console.get(f"{reverse('preview', args=['declare_lost'])}?id={forge.pk}")

    (consequence,) = answer.context["preview"].consequences
    assert (consequence.deployment, consequence.kind, consequence.code) == (
        row.pk,
        "waits",
        "cluster_lost",
    )


def test_an_unclaimed_engine_and_unknown_containers_are_shown_with_the_remedy(
    console: Client, forge: Cluster
) -> None:
    now = timezone.now()
    Connection.objects.create(
        cluster=forge, endpoint="tcp://shared", engine_id="shared", probed_at=now,
        lost_contact_at=now, last_error="This database was restored.", unclaimed=True,
        unknown_containers=[{
            "uid": "1", "name": "mlops-x", "image": "later:1", "command": ["serve"], "runs": True,
        }],
    )  # fmt: skip

    shown = page(console, forge)

    assert "Its engine belongs to another installation" in shown
    assert "This database was restored." in shown
    assert "mlops-x: later:1 serve, running" in shown
    assert f"claim_engine {forge.pk}" in shown
