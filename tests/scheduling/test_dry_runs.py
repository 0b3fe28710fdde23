"""`?dry_run=true` on changes of deployments, clusters and nodes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event as Signal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from rest_framework.test import APIClient

from accounts.models import IdempotencyKey, User
from clusters.models import Cluster
from deployments import services
from deployments.choices import OnDependencyFailure, Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from deployments.specs import Spec
from orgs.models import Membership, Organization, Role
from orgs.tokens.grants import Scope
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import Loaded
from scheduling.insight import trial
from scheduling.models import SchedulingCycle
from scheduling.planner.plan import Plan
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.tokens import client_with

pytestmark = pytest.mark.django_db

ROW = {
    "deployment", "name", "organization", "priority", "kind", "source", "source_node",
    "source_name", "target", "target_node", "target_name", "preemptor", "lost_s", "code", "reason",
}  # fmt: skip


@pytest.fixture
def api(alice: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(alice)


def preview_of(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.data
    preview = dict(response.json()["preview"])
    assert set(preview) == {"consequences", "count", "dependents", "anyway", "begins_by"}
    assert all(set(row) == ROW for row in preview["consequences"])
    return preview


def kinds(response: Any) -> dict[int, str]:
    return {row["deployment"]: row["kind"] for row in preview_of(response)["consequences"]}


def test_a_higher_priority_shows_its_victim_and_what_that_loses(
    api: APIClient, forge: Cluster, bring: Bring, submit: Submit
) -> None:
    victim, waiting = bring(Status.RUNNING, gpu=2, name="train"), submit(gpu=2, name="tune")
    began = timezone.now() - timedelta(hours=1)
    Deployment.objects.filter(pk=victim.pk).update(placed_at=began)

    response = api.patch(f"/deployments/{waiting.pk}?dry_run=true", {"priority": 90})

    evicted, started = preview_of(response)["consequences"]
    assert response.json()["priority"] == 90
    assert (evicted["deployment"], evicted["name"], evicted["kind"]) == (
        victim.pk,
        "train",
        "evicted",
    )
    assert (evicted["source_name"], evicted["target_name"]) == ("forge", "")
    assert (evicted["preemptor"], evicted["priority"]) == (waiting.pk, 50)
    assert 3600 <= evicted["lost_s"] < 3700
    assert (started["deployment"], started["kind"]) == (waiting.pk, "starts")
    assert (started["target"], started["target_name"]) == (forge.pk, "forge")
    assert started["lost_s"] is None
    waiting.refresh_from_db()
    assert waiting.priority == 50


def test_a_change_without_effect_on_others_shows_why_its_deployment_waits(
    api: APIClient, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING, gpu=2, priority=90)
    waiting, other = submit(gpu=2), submit(gpu=2)

    preview = preview_of(api.patch(f"/deployments/{waiting.pk}?dry_run=true", {"priority": 60}))

    (row,) = preview["consequences"]
    assert (row["deployment"], row["kind"], row["code"]) == (
        waiting.pk,
        "waits",
        "no_free_capacity",
    )
    assert other.pk not in {row["deployment"] for row in preview["consequences"]}


def test_the_verbs_of_a_deployment_show_which_one_starts_instead(
    api: APIClient, bring: Bring, submit: Submit
) -> None:
    running, waiting = bring(Status.RUNNING, gpu=2), submit(gpu=2)
    held = submit(gpu=2, priority=90)
    services.hold(held, actor="alice")

    stopped = api.post(f"/deployments/{running.pk}/stop?dry_run=true")
    released = api.post(f"/deployments/{held.pk}/release?dry_run=true")
    cancelled = api.post(f"/deployments/{waiting.pk}/cancel?dry_run=true")

    assert stopped.json()["status"] == "stopping"
    assert kinds(stopped) == {running.pk: "withdrawn", waiting.pk: "starts"}
    assert kinds(released) == {running.pk: "evicted", held.pk: "starts"}
    assert kinds(cancelled) == {waiting.pk: "withdrawn"}


def test_the_changes_of_a_cluster_and_its_nodes_show_what_they_move_and_start(
    api: APIClient, forge: Cluster, rack: Cluster, bring: Bring, submit: Submit
) -> None:
    running = bring(Status.RUNNING, gpu=2)
    for _ in range(2):
        submit(gpu=2, priority=90, requested_cluster=rack)
    run_cycle(running.organization_id, SchedulingCycle.Trigger.CHANGE)
    second, node = submit(gpu=2, requested_cluster=forge), forge.nodes.get()

    drained = api.post(f"/clusters/{forge.pk}/drain?dry_run=true")
    of_node = api.post(f"/clusters/{forge.pk}/nodes/{node.pk}/drain?dry_run=true")
    resized = api.patch(f"/clusters/{forge.pk}?dry_run=true", {"gpu": 4})
    added = api.post(
        "/clusters?dry_run=true", {"name": "anvil", "cpu": 8, "ram_mib": 8192, "gpu": 2}
    )

    assert (drained.json()["state"], kinds(drained)) == ("draining", {running.pk: "evicted"})
    assert kinds(of_node) == {running.pk: "evicted"}
    assert (resized.json()["gpu"], kinds(resized)) == (4, {second.pk: "starts"})
    assert added.json()["name"] == "anvil"
    assert kinds(added) == {}
    forge.refresh_from_db()
    assert (forge.state, forge.gpu) == ("active", 2)


def test_a_new_node_is_named_as_the_place_where_a_deployment_starts(
    api: APIClient, rack: Cluster, submit: Submit
) -> None:
    *_, waiting = [submit(cpu_milli=4000, requested_cluster=rack) for _ in range(3)]
    run_cycle(waiting.organization_id, SchedulingCycle.Trigger.CHANGE)

    response = api.post(
        f"/clusters/{rack.pk}/nodes?dry_run=true", {"name": "new", "cpu": 4, "ram_mib": 8192}
    )

    (row,) = preview_of(response)["consequences"]
    assert (row["deployment"], row["target_name"]) == (waiting.pk, "new of rack")
    assert row["target_node"] == response.json()["id"]


def test_all_that_a_filter_selects_is_tried_at_once(
    api: APIClient, bring: Bring, submit: Submit
) -> None:
    running = [bring(Status.RUNNING, name="old", gpu=1) for _ in range(2)]
    waiting = submit(gpu=2)

    response = api.post("/deployments/stop?name=old&dry_run=true")

    assert response.json()["deployments"] == [one.pk for one in running]
    assert response.json()["dry_run"] is True
    assert kinds(response) == {
        running[0].pk: "withdrawn", running[1].pk: "withdrawn", waiting.pk: "starts",
    }  # fmt: skip


def test_what_depends_on_a_deployment_that_the_call_ends_is_shown(
    api: APIClient, forge: Cluster, submit: Submit
) -> None:
    first = submit()
    patient = submit(depends_on=(Wait(first.pk),))
    cancelling = submit(
        depends_on=(Wait(first.pk),), on_dependency_failure=OnDependencyFailure.CANCEL
    )

    third = submit(
        depends_on=(Wait(first.pk), Wait(cancelling.pk)),
        on_dependency_failure=OnDependencyFailure.CANCEL,
    )
    last = submit(depends_on=(Wait(third.pk),))
    submit(depends_on=(Wait(patient.pk),), on_dependency_failure=OnDependencyFailure.CANCEL)

    cancelled = preview_of(api.post(f"/deployments/{first.pk}/cancel?dry_run=true"))
    changed = preview_of(api.patch(f"/deployments/{first.pk}?dry_run=true", {"priority": 9}))

    assert cancelled["dependents"] == [
        {"deployment": patient.pk, "on": first.pk, "cancelled": False},
        {"deployment": cancelling.pk, "on": first.pk, "cancelled": True},
        {"deployment": third.pk, "on": first.pk, "cancelled": True},
        {"deployment": third.pk, "on": cancelling.pk, "cancelled": True},
        {"deployment": last.pk, "on": third.pk, "cancelled": False},
    ]
    assert changed["dependents"] == []


def test_what_the_next_cycle_does_anyway_is_counted_but_not_listed(
    api: APIClient, forge: Cluster, submit: Submit
) -> None:
    submit()
    held = submit()

    preview = preview_of(api.post(f"/deployments/{held.pk}/hold?dry_run=true"))

    assert [row["deployment"] for row in preview["consequences"]] == [held.pk]
    assert preview["anyway"] == 2


def test_it_says_when_the_next_cycle_begins_at_the_latest(
    api: APIClient, forge: Cluster, submit: Submit
) -> None:
    schedule = IntervalSchedule.objects.create(every=2, period=IntervalSchedule.MINUTES)
    PeriodicTask.objects.filter(name="Scheduling cycles").update(interval=schedule)
    deployment, now = submit(), timezone.now()

    changed = preview_of(api.post(f"/deployments/{deployment.pk}/hold?dry_run=true"))
    unchanged = preview_of(api.post(f"/deployments/{deployment.pk}/release?dry_run=true"))

    begins_by = datetime.fromisoformat(changed["begins_by"])
    assert timedelta(seconds=115) < begins_by - now < timedelta(seconds=180)
    assert unchanged == {
        "consequences": [], "count": 0, "dependents": [], "anyway": 0, "begins_by": None,
    }  # fmt: skip


Refused = Callable[[APIClient, Deployment, Cluster], Any]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("post", "/deployments/{running}/cancel", None, 409),
        ("patch", "/deployments/{running}", {"cpu": 2}, 409),
        ("patch", "/deployments/{running}", {"priority": 101}, 400),
        ("patch", "/deployments/{running}", {"unknown": 1}, 400),
        ("post", "/deployments/{running}/stop", {"a": 1}, 400),
        ("delete", "/deployments/{running}", None, 409),
        ("post", "/deployments/987654/hold", None, 404),
        ("patch", "/clusters/{forge}", {"gpu": 0}, 409),
        ("patch", "/clusters/{forge}", {"name": "rack"}, 400),
        ("delete", "/clusters/{forge}", None, 409),
        ("post", "/clusters/{rack}/nodes", {"name": "gpu-1", "cpu": 1, "ram_mib": 1}, 400),
        ("post", "/deployments/bulk", {"deployments": [{"name": "x"}]}, 400),
    ],
)
def test_a_dry_run_is_refused_as_the_call_is(
    api: APIClient, forge: Cluster, rack: Cluster, bring: Bring,
    method: str, path: str, body: Any, status: int,
) -> None:  # fmt: skip
    ids = {"running": bring(Status.RUNNING, gpu=1).pk, "forge": forge.pk, "rack": rack.pk}
    path = path.format(**ids)

    tried = getattr(api, method)(f"{path}?dry_run=true", body)
    done = getattr(api, method)(path, body)

    assert tried.status_code == status
    assert tried.content == done.content


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_a_dry_run_needs_the_role_of_the_call(
    acme: Organization, forge: Cluster, submit: Submit, bob: User, client_for: ClientFor, role: Role
) -> None:
    Membership.objects.filter(user=bob).update(role=role)
    client, own = client_for(bob), submit()

    priority = client.patch(f"/deployments/{own.pk}?dry_run=true", {"priority": 60})
    hold = client.post(f"/deployments/{own.pk}/hold?dry_run=true")
    drain = client.post(f"/clusters/{forge.pk}/drain?dry_run=true")

    assert priority.status_code == (200 if role is Role.DEVELOPER else 403)
    assert "needs the role admin" in refusal(hold, 403)["detail"]
    assert "needs the role admin" in refusal(drain, 403)["detail"]


@pytest.mark.parametrize("scope", list(Scope))
def test_a_dry_run_needs_the_scope_of_the_call(
    alice: User, forge: Cluster, submit: Submit, scope: Scope
) -> None:
    client, deployment = client_with(alice, scope), submit(created_by=alice)
    calls = {
        Scope.SUBMIT: client.patch(f"/deployments/{deployment.pk}?dry_run=true", {"priority": 60}),
        Scope.ADMIN: client.post(f"/deployments/{deployment.pk}/hold?dry_run=true"),
    }

    for needed, response in calls.items():
        if scope.rank < needed.rank:
            assert refusal(response, 403)["code"] == "token_scope"
        else:
            assert response.status_code == 200


@pytest.mark.parametrize("path", ["/deployments/bulk", "/deployments"])
def test_a_dry_run_uses_up_no_idempotency_key(api: APIClient, forge: Cluster, path: str) -> None:
    job = {"name": "job", "image": "busybox", "cpu": 1, "ram_mib": 1024}
    body = {"deployments": [job]} if path.endswith("bulk") else job
    api.credentials(HTTP_IDEMPOTENCY_KEY="k")

    tried = api.post(f"{path}?dry_run=true", body)
    kept = IdempotencyKey.objects.count()
    done = api.post(path, body)
    again = api.post(f"{path}?dry_run=true", body)

    assert (tried.status_code, kept, done.status_code) == (200, 0, 201)
    if path == "/deployments/bulk":
        assert list(kinds(tried).values()) == ["starts"]
    assert again.status_code == 200


def test_deployments_of_other_organizations_are_not_shown(
    bob: User, charlie: User, acme: Organization, forge: Cluster, globex: Organization,
    globex_cluster: Cluster, submit: Submit, alice: User,
) -> None:  # fmt: skip
    """Alice belongs to both, and limits one of her tokens to Acme."""
    Membership.objects.create(user=alice, organization=globex, role=Role.ADMIN)
    foreign = services.submit(
        created_by=charlie, organization=globex,
        spec=Spec(name="secret", image="x", cpu_milli=1000, ram_mib=1024, priority=1),
    )  # fmt: skip
    own = submit(name="own")
    query = "/deployments/cancel?all=true&dry_run=true"

    of_both = kinds(client_with(alice).post(query))
    of_acme = client_with(alice, organization=acme).post(query)

    assert of_both == {own.pk: "withdrawn", foreign.pk: "withdrawn"}
    assert kinds(of_acme) == {own.pk: "withdrawn"}
    assert "secret" not in of_acme.content.decode()


def test_a_dry_run_costs_no_statement_for_each_deployment_that_waits(
    api: APIClient, bring: Bring, submit: Submit
) -> None:
    running, counts = bring(Status.RUNNING, gpu=2), []
    for more in (1, 10):
        for _ in range(more):
            submit(gpu=2)
        with CaptureQueriesContext(connection) as queries:
            assert kinds(api.post(f"/deployments/{running.pk}/stop?dry_run=true"))
        counts.append(len(queries))

    assert counts[0] == counts[1]


def elsewhere(work: Callable[[], Any]) -> Any:
    """Do the work in a thread with a connection of its own, and return its result."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_that_has_to_wait_for_a_lock_is_refused_after_a_while(
    api: APIClient, forge: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_LOCK_MS", 50)
    locked, tried = Signal(), Signal()

    def hold_the_lock_as_a_cycle_does() -> None:
        try:
            with transaction.atomic():
                Cluster.objects.get_locked(forge.pk)
                locked.set()
                assert tried.wait(30)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold_the_lock_as_a_cycle_does)
        assert locked.wait(30)
        try:
            response = api.post(f"/clusters/{forge.pk}/drain?dry_run=true")
        finally:
            tried.set()
        holding.result()

    assert (response.status_code, response.data["errors"][0]["code"]) == (503, "locked")
    assert response.headers["Retry-After"] == "1"


@pytest.mark.django_db(transaction=True)
def test_a_cycle_runs_while_a_dry_run_plans(
    api: APIClient, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = submit()
    cycles = []

    def run_a_cycle() -> bool:
        return bool(run_cycle(waiting.organization_id, SchedulingCycle.Trigger.CHANGE))

    def planned_while_a_cycle_runs(loaded: Loaded) -> Plan:
        cycles.append(elsewhere(run_a_cycle))
        return next_plan(loaded)

    monkeypatch.setattr(trial, "next_plan", planned_while_a_cycle_runs)

    response = api.post(f"/clusters/{forge.pk}/drain?dry_run=true")

    assert cycles == [True, True]
    assert kinds(response) == {waiting.pk: "waits"}


@pytest.mark.django_db(transaction=True)
def test_what_others_change_meanwhile_is_no_consequence(
    forge: Cluster, submit: Submit, alice: User
) -> None:
    mine = submit(name="mine")
    others: list[Deployment] = []

    def hold() -> Deployment:
        others.append(elsewhere(lambda: submit(name="of another user")))
        return services.hold(mine, actor="alice")

    _, shown = trial.try_out(hold, alice)

    assert [effect.name for effect in shown.effects] == ["mine"]
    assert shown.anyway == len([mine, *others])
