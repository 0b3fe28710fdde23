"""The page of one organization, and the list of organizations."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from orgs.models import Membership, Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import ClusterSample, SchedulingCycle
from scheduling.monitoring.minutes import take_sample
from tests.fixtures.deployments import Bring, Submit


def look(console: Client, organization: Organization) -> tuple[str, Any]:
    """Return the page as text with single spaces, and its context."""
    response = console.get(reverse("admin:orgs_organization_change", args=[organization.pk]))
    assert response.status_code == 200
    return " ".join(response.content.decode().split()), response.context


def test_it_shows_its_deployments_by_status_and_the_allocation_of_its_clusters(
    console: Client, acme: Organization, forge: Cluster, bring: Bring
) -> None:
    bring(Status.RUNNING, cpu_milli=6000)
    services.hold(bring(Status.PENDING), actor="olga")
    bring(Status.PENDING)
    bring(Status.COMPLETED)

    page, context = look(console, acme)

    assert context["counts"] == {
        "running": 1, "starting": 0, "pending": 1, "held": 1, "stopping": 0
    }  # fmt: skip
    (row,) = context["clusters"]
    assert row.bars[0].texts == ("6", "0", "2", "8")
    assert "alice" in page
    assert page.index("alice") < page.index("bob")
    assert acme.invite_code not in page


def test_it_shows_what_reservations_kept_idle(
    console: Client, acme: Organization, forge: Cluster, globex_cluster: Cluster
) -> None:
    take_sample()
    ClusterSample.objects.filter(cluster=forge).update(idle_gpu=0.02)

    page, _ = look(console, acme)

    assert "<strong>1%</strong> of the capacity over the last 24 hours" in page
    assert "(limit of the turns: 10%)" in page


def test_it_links_to_its_last_cycle_events_and_deployments(
    console: Client, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit()
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert cycle is not None

    page, _ = look(console, acme)

    assert "1 placed, 0 evicted, 0 moved" in page
    for address in (
        reverse("admin:scheduling_schedulingcycle_change", args=[cycle.pk]),
        f"{reverse('admin:orgs_event_changelist')}?organization__id__exact={acme.pk}",
        f"{reverse('queue')}?organization={acme.pk}",
    ):
        assert f'href="{address}"' in page


def test_an_organization_without_a_cluster_is_warned(console: Client, globex: Organization) -> None:
    assert "It has no cluster" in look(console, globex)[0]


def test_a_viewer_is_offered_no_action(acme: Organization) -> None:
    viewer = User.objects.create(username="vera", is_staff=True)
    viewer.groups.add(Group.objects.get(name="Viewers"))
    client = Client()
    client.force_login(viewer, "django.contrib.auth.backends.ModelBackend")

    page, _ = look(client, acme)

    assert not any(word in page for word in ("?edit", "Run a cycle…", "Delete…"))


@pytest.mark.parametrize("page", ["change", "changelist"])
def test_it_takes_the_same_number_of_queries_at_any_size(
    console: Client, acme: Organization, forge: Cluster, submit: Submit, page: str
) -> None:
    address = reverse(f"admin:orgs_organization_{page}", args=[acme.pk] * (page == "change"))
    counts = []
    for size in (1, 12):
        for number in range(size):
            submit()
            user = User.objects.create(username=f"u{size}-{number}")
            Membership.objects.create(organization=acme, user=user, role="viewer")
            Organization.objects.create(name=f"o{size}-{number}")
        console.get(address)
        with CaptureQueriesContext(connection) as queries:
            console.get(address)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_the_list_counts_active_and_pending_deployments(
    console: Client, acme: Organization, bring: Bring
) -> None:
    for status in (Status.RUNNING, Status.RUNNING, Status.PENDING, Status.FAILED):
        bring(status)

    (row,) = console.get(reverse("admin:orgs_organization_changelist")).context["cl"].result_list

    assert (row.cluster_count, row.running_count, row.waiting_count) == (1, 2, 1)
