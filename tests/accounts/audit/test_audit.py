"""The audit trail: actor, request, and the values before and after each change."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django import Settings

from accounts.audit import retention
from accounts.models import AuditEntry, User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.console import confirm


def trail(model: str, **more: object) -> list[AuditEntry]:
    """Return the trail's entries for a model, oldest first."""
    return list(AuditEntry.objects.filter(model=model, **more).order_by("pk"))


def changes(entry: AuditEntry) -> tuple[Any, Any]:
    return entry.before, entry.after


def test_a_change_through_the_api_names_person_request_and_both_values(
    client_for: ClientFor, bob: User, submit: Submit, forge: Cluster
) -> None:
    deployment = submit(priority=20)

    client_for(bob).patch(f"/deployments/{deployment.pk}", {"priority": 90})

    (entry,) = trail("deployments.deployment")
    assert changes(entry) == ({"priority": 20}, {"priority": 90})
    assert (entry.actor, entry.object_id, entry.name) == (bob, deployment.pk, "job")
    assert (entry.operation, len(entry.request_id)) == ("UPDATE", 36)
    assert entry.via == f"/deployments/{deployment.pk}"


def test_a_change_in_the_admin_names_the_operator(
    console: Client, olga: User, forge: Cluster
) -> None:
    confirm(console, "cordon", forge)

    entry = trail("clusters.cluster")[-1]
    assert changes(entry) == ({"state": "active"}, {"state": "cordoned"})
    assert (entry.actor, entry.via) == (olga, reverse("preview", args=["cordon"]))


@pytest.mark.parametrize(
    "write",
    [
        lambda: Deployment.objects.update(priority=7),
        lambda: connection.cursor().execute("UPDATE deployments_deployment SET priority = 7"),
    ],
    ids=["queryset", "sql"],
)
def test_a_change_that_bypasses_the_services_is_recorded_too(
    submit: Submit, forge: Cluster, write: Callable[[], object]
) -> None:
    submit(priority=50)

    write()

    (entry,) = trail("deployments.deployment")
    assert changes(entry) == ({"priority": 50}, {"priority": 7})
    assert (entry.actor, entry.request_id) == (None, "")


def test_a_change_of_a_secret_is_recorded_without_its_values(
    client_for: ClientFor, bob: User, submit: Submit, forge: Cluster, acme: Organization
) -> None:
    deployment = submit(env={"TOKEN": "old-one"})
    client_for(bob).patch(f"/deployments/{deployment.pk}", {"env": {"TOKEN": "new-one"}})
    bob.set_password("five carts, ten horses")
    bob.save()
    Organization.objects.update(invite_code="very-new")

    (env,) = trail("deployments.deployment")
    assert changes(env) == ({"env": "***"}, {"env": "***"})
    assert changes(trail("accounts.user", name="bob")[-1]) == ({"password": "***"},) * 2
    assert changes(trail("orgs.organization")[-1]) == ({"invite_code": "***"},) * 2
    whole = str(list(AuditEntry.objects.values()))
    assert not any(text in whole for text in ("old-one", "new-one", "very-new", "md5$"))


def test_the_entry_of_a_deletion_holds_the_deleted_values(
    client_for: ClientFor, alice: User, acme: Organization, forge: Cluster
) -> None:
    client_for(alice).delete(f"/clusters/{forge.pk}")

    created, gone = trail("clusters.cluster")
    assert (created.operation, created.before, gone.operation) == ("INSERT", None, "DELETE")
    assert gone.before == created.after
    assert gone.before == {
        "organization_id": acme.pk, "name": "forge", "state": "active", "driver": "simulated",
        "cpu_milli": 8000, "ram_mib": 16384, "gpu": 2,
    }  # fmt: skip


def test_a_stop_by_a_person_is_recorded(
    client_for: ClientFor, bob: User, bring: Bring, forge: Cluster
) -> None:
    deployment = bring(Status.RUNNING)

    client_for(bob).post(f"/deployments/{deployment.pk}/stop")

    (entry,) = trail("deployments.deployment")
    assert changes(entry) == ({"status": "running"}, {"status": "stopping"})
    assert entry.actor == bob


def test_the_scheduler_s_decisions_are_not_recorded_even_in_a_cycle_that_a_person_requests(
    console: Client, acme: Organization, submit: Submit, bring: Bring, forge: Cluster
) -> None:
    low = bring(Status.RUNNING, cpu_milli=8000, priority=10)
    submit(cpu_milli=8000, priority=90)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    low.refresh_from_db()
    assert low.status == Status.PENDING
    assert trail("deployments.deployment") == []

    services.cancel(low, actor="olga")
    submit(cpu_milli=1, ram_mib=1)
    cluster_services.create(
        actor="olga", organization=acme, name="anvil", capacity=Capacity(9000, 9000, 9)
    )
    console.post(reverse("admin:scheduling_schedulingcycle_run_all"))

    assert Deployment.objects.filter(status=Status.STARTING).count() == 2
    assert trail("deployments.deployment") == []


def test_rights_and_members_are_watched(acme: Organization, bob: User) -> None:
    group = Group.objects.get(name="Operators")
    bob.groups.add(group)
    acme.memberships.get(user=bob).delete()

    (given,) = trail("accounts.user_groups")
    assert (given.operation, given.after) == ("INSERT", {"user_id": bob.pk, "group_id": group.pk})
    gone = trail("orgs.membership")[-1]
    assert gone.before == {"organization_id": acme.pk, "user_id": bob.pk, "role": "developer"}


def test_a_log_in_is_not_recorded_as_a_change_of_the_user(olga: User) -> None:
    count = AuditEntry.objects.count()

    Client().force_login(olga, "django.contrib.auth.backends.ModelBackend")

    assert AuditEntry.objects.count() == count


def test_an_operator_s_new_interval_is_recorded_and_beat_s_run_counts_are_not(db: None) -> None:
    every = IntervalSchedule.objects.create(every=30, period="seconds")
    task = PeriodicTask.objects.create(name="tried", task="tried", interval=every)
    faster = IntervalSchedule.objects.create(every=5, period="seconds")
    PeriodicTask.objects.filter(pk=task.pk).update(total_run_count=7)
    PeriodicTask.objects.filter(pk=task.pk).update(interval=faster)

    entries = trail("django_celery_beat.periodictask", name="tried")
    assert [entry.operation for entry in entries] == ["INSERT", "UPDATE"]
    assert changes(entries[-1]) == ({"interval_id": every.pk}, {"interval_id": faster.pk})


@pytest.mark.parametrize(
    "sql", ["DELETE FROM accounts_auditentry", "UPDATE accounts_auditentry SET name = 'x'"]
)
def test_the_trail_is_append_only_even_in_sql(forge: Cluster, sql: str) -> None:
    with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
        connection.cursor().execute(sql)


PAGE = "/admin/accounts/auditentry/"


def test_the_page_shows_the_actor_and_the_change_with_names_for_ids(
    console: Client, acme: Organization, bob: User, forge: Cluster
) -> None:
    confirm(console, "drain", forge)
    bob.groups.add(Group.objects.get(name="Operators"))

    page = " ".join(console.get(PAGE).content.decode().split())

    assert "active → draining" in page
    assert f'href="/admin/clusters/cluster/{forge.pk}/change/">cluster forge</a>' in page
    assert ">olga</a>" in page
    assert "group <b>Operators</b>" in page
    assert "user <b>bob</b>" in page


def test_the_page_of_an_entry_says_in_words_what_was_done(console: Client, forge: Cluster) -> None:
    confirm(console, "cordon", forge)
    entry = AuditEntry.objects.latest("pk")

    page = console.get(f"{PAGE}{entry.pk}/change/").content.decode()

    assert "UPDATE" not in page
    assert "changed" in page


def test_the_page_finds_by_person_model_and_time(
    console: Client, olga: User, forge: Cluster, submit: Submit
) -> None:
    deployment = submit(priority=50)
    services.adjust(deployment, actor="bob", priority=51)
    confirm(console, "drain", forge)

    def found(**query: Any) -> list[str]:
        rows = console.get(PAGE, query).context["cl"].result_list
        return [row.model for row in rows]

    assert found(actor__id__exact=olga.pk) == ["clusters.cluster"]
    assert found(model="deployments.deployment") == ["deployments.deployment"]
    assert found(time_from_0="2099-01-01", time_from_1="00:00") == []
    assert found(model="deployments.deployment", time_to_0="2099-01-01", time_from_0="x") != []
    assert len(found(model="clusters.cluster", object_id=forge.pk)) == 2


@pytest.mark.parametrize("model", ["clusters_cluster", "deployments_deployment"])
def test_an_objects_history_is_its_trail(
    console: Client, forge: Cluster, submit: Submit, model: str
) -> None:
    deployment = submit(priority=50)
    services.adjust(deployment, actor="bob", priority=51)
    pk = {"clusters_cluster": forge.pk, "deployments_deployment": deployment.pk}[model]

    page = console.get(reverse(f"admin:{model}_history", args=[pk]), follow=True)

    assert {row.object_id for row in page.context["cl"].result_list} == {pk}
    assert {row.model for row in page.context["cl"].result_list} == {model.replace("_", ".")}


def test_the_page_needs_the_same_number_of_queries_for_any_number_of_rows(
    console: Client, acme: Organization, bob: User
) -> None:
    def grow(count: int) -> int:
        for number in range(count):
            user = User.objects.create(username=f"u{count}-{number}")
            acme.memberships.create(user=user, role="viewer")
        address = f"{PAGE}?model=orgs.membership"
        console.get(address)
        with CaptureQueriesContext(connection) as queries:
            assert len(console.get(address).context["cl"].result_list) >= count
        return len(queries)

    assert grow(1) == grow(15)


def test_nothing_in_the_trail_can_be_changed(console: Client, forge: Cluster) -> None:
    entry = AuditEntry.objects.filter(model="clusters.cluster").get()
    address = f"{PAGE}{entry.pk}/change/"

    assert console.get(address).status_code == 200
    assert console.post(address, {"name": "x"}).status_code == 403
    assert console.post(f"{PAGE}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert console.get(f"{PAGE}add/").status_code == 403


def test_entries_are_kept_for_ever_unless_a_setting_limits_it(
    forge: Cluster, settings: Settings
) -> None:
    later = timezone.now() + timedelta(days=31)
    kept = AuditEntry.objects.count()
    assert retention.purge_entries(later) == 0

    settings.AUDIT_HISTORY_DAYS = 30

    assert retention.purge_entries(later - timedelta(days=2)) == 0
    assert retention.purge_entries(later) == kept > 0
    assert not AuditEntry.objects.exists()
