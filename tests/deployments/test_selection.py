"""The calls on all deployments that the filters select, such as POST /deployments/cancel."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments import selection, services
from deployments.choices import ENDED, Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs.models import Event, Membership, Organization, Role
from tests.fixtures.deployments import Bring, MemberAs, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import ids, refusal
from tests.support.locks import is_any_lock_awaited

CANCEL, STOP, START, HOLD, RELEASE, PRIORITY = (
    f"/deployments/{verb}" for verb in ("cancel", "stop", "start", "hold", "release", "priority")
)


@pytest.fixture
def api(alice: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(alice)


def outcome(answer: Any) -> tuple[list[int], dict[int, str]]:
    """Return the ids of changed deployments, and the codes of skipped ones by id."""
    assert answer.status_code == 200, answer.data
    body = answer.json()
    assert set(body) - {"preview"} == {
        "dry_run", "deployments", "skipped", "skipped_count", "remaining",
    }  # fmt: skip
    assert body["skipped_count"] >= len(body["skipped"])
    return body["deployments"], {row["deployment"]: row["code"] for row in body["skipped"]}


def statuses(*deployments: Deployment) -> list[str]:
    return [Deployment.objects.get(pk=each.pk).status for each in deployments]


def test_the_deployments_that_the_filter_selects_are_cancelled(
    api: APIClient, submit: Submit
) -> None:
    sweep = [submit(name=f"sweep-{n}", priority=n) for n in (10, 20, 30)]
    other = submit(name="serve")

    changed, skipped = outcome(api.post(f"{CANCEL}?name=sweep&priority_max=20"))

    assert (changed, skipped) == ([sweep[0].pk, sweep[1].pk], {})
    assert statuses(*sweep, other) == ["cancelled", "cancelled", "pending", "pending"]
    sweep[0].refresh_from_db()
    assert (sweep[0].status_reason, sweep[0].status_code) == ("Cancelled by alice.", "cancelled")
    events = Event.objects.filter(subject=Event.Subject.DEPLOYMENT, subject_id=sweep[0].pk)
    assert list(events.values_list("kind", "actor")) == [
        ("submitted", "bob"),
        ("cancelled", "alice"),
    ]


def test_every_filter_selects_the_same_as_in_the_list(
    api: APIClient, submit: Submit, forge: Cluster, acme: Organization, alice: User, bob: User
) -> None:
    submit(name="a", requested_cluster=forge, priority=10)
    submit(name="b", created_by=alice, labels={"run": "42"})
    submit(name="a", created_by=alice, restart_policy="on-failure")
    for query in (
        "name=a", "name=a&name=b", f"requested_cluster={forge.pk}", "created_by=me",
        "created_by=bob", f"created_by={bob.pk}", "created_by=bob&created_by=me",
        "created_by=nobody", "priority_min=50", "priority_max=49", "restart_policy=on-failure",
        f"id={forge.pk}&id={forge.pk + 1}", f"organization={acme.pk}", "status=pending",
        "status=pending&status=running",
        "status=running", f"cluster={forge.pk}", "status_code=submitted",
        "created_by_departed=false", "created_by_departed=true", "label=run=42",
    ):  # fmt: skip
        shown = ids(api.get(f"/deployments?ordering=id&{query}"))
        changed, skipped = outcome(api.post(f"{CANCEL}?dry_run=true&{query}"))
        assert (changed, skipped) == (shown, {}), query
    assert not Deployment.objects.exclude(status=Status.PENDING).exists()


def test_me_is_the_caller_even_if_a_user_has_that_name(
    api: APIClient, submit: Submit, acme: Organization, alice: User
) -> None:
    me = User.objects.create(username="me")
    digits = User.objects.create(username=str(alice.pk))
    for user in (me, digits):
        Membership.objects.create(organization=acme, user=user)
        submit(created_by=user)
    mine = submit(created_by=alice)

    assert ids(api.get("/deployments?created_by=me")) == [mine.pk]
    assert ids(api.get(f"/deployments?created_by={alice.pk}")) == [mine.pk]


@pytest.mark.parametrize(
    ("path", "fit", "met"),
    [
        (CANCEL, {Status.PENDING}, "cancelled"),
        (STOP, {Status.STARTING, Status.RUNNING}, "stopping"),
    ],
)
def test_each_verb_changes_its_statuses_and_explains_what_it_skips(
    api: APIClient, bring: Bring, path: str, fit: set[Status], met: str
) -> None:
    made = {status: bring(status, cpu_milli=10, ram_mib=1) for status in Status}

    first = api.post(f"{path}?all=true")
    changed, skipped = outcome(first)

    assert changed == sorted(made[status].pk for status in fit)
    assert skipped == {made[status].pk: status for status in Status if status not in {*fit, *ENDED}}
    assert all(row["reason"].startswith("It is ") for row in first.json()["skipped"])
    assert statuses(*(made[status] for status in fit)) == [met] * len(fit)
    assert statuses(*(made[status] for status in ENDED)) == list(ENDED)
    released = Run.objects.filter(deployment__in=changed, released_at=None)
    assert not released.exists()


def test_ended_deployments_are_queued_again_and_others_left_out(
    api: APIClient, bring: Bring, submit: Submit
) -> None:
    failed, done = bring(Status.FAILED), bring(Status.COMPLETED)
    blocked = bring(Status.FAILED, depends_on=(Wait(done.pk),))
    pending = submit()
    services.start(done, actor="alice")

    changed, skipped = outcome(api.post(f"{START}?status=failed"))

    assert (changed, skipped) == ([failed.pk, blocked.pk], {})
    assert statuses(failed, blocked, pending) == ["pending"] * 3
    rows = Deployment.objects.in_bulk([failed.pk, blocked.pk])
    assert rows[failed.pk].status_reason == "Started again: waits for the next cycle."
    assert rows[blocked.pk].status_code == "dependency"
    assert outcome(api.post(f"{START}?all=true")) == ([], {})


def test_more_than_may_be_pending_are_not_queued_again(
    api: APIClient, bring: Bring, settings: Any
) -> None:
    made = [bring(Status.FAILED), bring(Status.CANCELLED)]
    settings.MAX_PENDING_PER_USER = 1

    assert refusal(api.post(f"{START}?all=true"), 409)["code"] == "limit_reached"
    assert statuses(*made) == ["failed", "cancelled"]


def test_what_is_pending_is_held_and_released(api: APIClient, bring: Bring, submit: Submit) -> None:
    running = bring(Status.RUNNING)
    first, waits = submit(labels={"run": "42"}), submit(depends_on=(Wait(running.pk),))
    revision = first.revision

    assert outcome(api.post(f"{HOLD}?label=run=42")) == ([first.pk], {})
    assert outcome(api.post(f"{HOLD}?all=true")) == (
        [waits.pk], {running.pk: "running", first.pk: "unchanged"},
    )  # fmt: skip
    first.refresh_from_db()
    assert (first.held, first.status_code, first.revision) == (True, "held", revision + 1)
    assert outcome(api.post(f"{RELEASE}?name=job")) == (
        [first.pk, waits.pk], {running.pk: "running"},
    )  # fmt: skip
    rows = Deployment.objects.in_bulk([first.pk, waits.pk])
    assert [row.held for row in rows.values()] == [False, False]
    assert rows[first.pk].status_reason == "Released: waits for the next cycle."
    assert rows[waits.pk].status_code == "dependency"
    events = Event.objects.filter(subject=Event.Subject.DEPLOYMENT, subject_id=first.pk)
    assert [*events.order_by("pk").values_list("kind", "actor")] == [
        ("submitted", "bob"), ("held", "alice"), ("released", "alice"),
    ]  # fmt: skip


def test_only_admins_hold(submit: Submit, forge: Cluster, client_for: ClientFor, bob: User) -> None:
    own = submit(created_by=bob)

    assert outcome(client_for(bob).post(f"{HOLD}?all=true")) == (
        [], {own.pk: "permission_denied"},
    )  # fmt: skip


def test_the_priority_of_what_has_not_ended_is_changed(
    api: APIClient, bring: Bring, submit: Submit
) -> None:
    made = [submit(), bring(Status.RUNNING), submit(priority=70)]
    bring(Status.FAILED)

    answer = api.post(f"{PRIORITY}?all=true", {"priority": 70})

    assert outcome(answer) == ([made[0].pk, made[1].pk], {made[2].pk: "unchanged"})
    rows = Deployment.objects.in_bulk([each.pk for each in made])
    assert [row.priority for row in rows.values()] == [70] * 3
    event = Event.objects.get(kind="updated", subject_id=made[0].pk)
    assert (event.actor, event.reason) == ("alice", "Changed priority.")
    assert event.data == {"priority": [50, 70]}
    for body in ({}, {"priority": 0}, {"priority": 50, "name": "x"}):
        assert api.post(f"{PRIORITY}?all=true", body).status_code == 400


def test_a_repeated_call_changes_nothing(api: APIClient, submit: Submit) -> None:
    deployment = submit()

    assert outcome(api.post(f"{CANCEL}?all=true")) == ([deployment.pk], {})
    assert outcome(api.post(f"{CANCEL}?all=true")) == ([], {})
    assert Event.objects.filter(kind="cancelled").count() == 1


def test_a_dry_run_shows_what_the_call_would_do_and_changes_nothing(
    api: APIClient, bring: Bring
) -> None:
    made = [bring(status, cpu_milli=10, ram_mib=1) for status in Status]
    before = statuses(*made)

    tried = api.post(f"{CANCEL}?all=true&dry_run=true").json()
    assert statuses(*made) == before
    done = api.post(f"{CANCEL}?all=true").json()

    assert tried.pop("preview")
    assert tried.pop("dry_run") is True
    assert done.pop("dry_run") is False
    assert tried == done
    assert tried["deployments"]


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("", "all"), ("?all=false", "all"), ("?dry_run=true", "all"), ("?all=true&name=x", "all"),
        ("?all=yes", "all"), ("?name=", "name"), ("?status=", "status"), ("?nmae=x", "nmae"),
        ("?status=asleep", "status"), ("?all=true&all=true", "all"), ("?limit=5", "all"),
        ("?all=true&limit=0", "limit"),
        ("?all=true&limit=1001", "limit"), ("?all=true&limit=1_0", "limit"),
        ("?name=x&dry_run=true&dry_run=false", "dry_run"), ("?created_by=", "created_by"),
        ("?ordering=id&name=job", "ordering"), ("?cluster=1_0", "cluster"),
    ],
)  # fmt: skip
def test_an_unclear_selection_is_refused_and_changes_nothing(
    api: APIClient, bring: Bring, query: str, attr: str
) -> None:
    made = [bring(Status.PENDING), bring(Status.RUNNING)]

    for path in (CANCEL, STOP):
        assert refusal(api.post(f"{path}{query}"), 400)["attr"] == attr
    assert statuses(*made) == ["pending", "running"]


def test_a_filter_in_the_body_is_refused(api: APIClient, submit: Submit) -> None:
    deployment = submit()

    assert "no body" in refusal(api.post(f"{CANCEL}?all=true", {"name": "x"}), 400)["detail"]
    assert statuses(deployment) == ["pending"]


def test_the_roles_are_those_of_a_single_cancel(
    submit: Submit, member_as: MemberAs, client_for: ClientFor, alice: User, bob: User,
    forge: Cluster,
) -> None:  # fmt: skip
    of_bob, of_alice = submit(created_by=bob), submit(created_by=alice)
    viewer = member_as(Role.VIEWER)
    of_viewer = submit(created_by=viewer)

    denied = "permission_denied"
    assert outcome(client_for(viewer).post(f"{CANCEL}?all=true")) == (
        [], {of_bob.pk: denied, of_alice.pk: denied, of_viewer.pk: denied},
    )  # fmt: skip
    assert outcome(client_for(bob).post(f"{CANCEL}?all=true")) == (
        [of_bob.pk], {of_alice.pk: denied, of_viewer.pk: denied},
    )  # fmt: skip
    assert outcome(client_for(member_as(Role.ADMIN)).post(f"{CANCEL}?all=true")) == (
        [of_alice.pk, of_viewer.pk], {},
    )  # fmt: skip


def test_a_developer_may_not_cancel_what_a_deleted_user_submitted(
    submit: Submit, client_for: ClientFor, bob: User, forge: Cluster
) -> None:
    gone = submit()
    Deployment.objects.filter(pk=gone.pk).update(created_by=None)

    assert outcome(client_for(bob).post(f"{CANCEL}?all=true")) == (
        [], {gone.pk: "permission_denied"},
    )  # fmt: skip


def test_deployments_of_a_stranger_are_not_selected(
    api: APIClient, client_for: ClientFor, charlie: User, submit: Submit, globex: Organization
) -> None:
    deployment = submit()

    stranger = client_for(charlie)
    assert outcome(stranger.post(f"{CANCEL}?all=true")) == ([], {})
    assert outcome(stranger.post(f"{CANCEL}?organization={deployment.organization_id}")) == ([], {})
    assert statuses(deployment) == ["pending"]


def test_of_many_skipped_deployments_the_refused_ones_are_listed_first(
    api: APIClient, submit: Submit, bring: Bring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MAX_LISTED", 2)
    held = [submit() for _ in range(3)]
    for each in held:
        services.hold(each, actor="alice")
    running, pending = bring(Status.RUNNING), submit()

    answer = api.post(f"{HOLD}?all=true")

    assert outcome(answer) == ([pending.pk], {held[0].pk: "unchanged", running.pk: "running"})
    assert answer.json()["skipped_count"] == 4


def test_skipped_deployments_never_hide_those_that_a_limit_leaves(
    api: APIClient, submit: Submit, bring: Bring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MAX_LISTED", 1)
    for _ in range(3):
        bring(Status.RUNNING)
    made = [submit(), submit()]

    changed = [outcome(api.post(f"{CANCEL}?all=true&limit=1"))[0] for _ in range(3)]

    assert changed == [[made[0].pk], [made[1].pk], []]


def test_a_limit_splits_a_large_selection_over_several_calls(
    api: APIClient, submit: Submit, bring: Bring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MAX_CHANGED", 2)
    running = bring(Status.RUNNING)
    made = [submit() for _ in range(5)]

    for query in ("?all=true", "?all=true&dry_run=true", "?name=job"):
        error = refusal(api.post(f"{CANCEL}{query}"), 400)
        assert (error["attr"], error["code"]) == ("limit", "too_many")
        assert "limit=2" in error["detail"]
    assert statuses(*made) == ["pending"] * 5

    tried = api.post(f"{CANCEL}?all=true&limit=2&dry_run=true").json()
    remaining, cancelled = 1, []
    while remaining:
        answer = api.post(f"{CANCEL}?all=true&limit=2")
        changed, skipped = outcome(answer)
        assert skipped == {running.pk: "running"}
        cancelled += changed
        remaining = answer.json()["remaining"]
    assert tried["deployments"] == cancelled[:2]
    assert tried["remaining"] == 3
    assert cancelled == [each.pk for each in made]


@pytest.mark.parametrize("path", [HOLD, RELEASE, PRIORITY, CANCEL, START])
def test_the_number_of_statements_does_not_depend_on_the_number_of_deployments(
    api: APIClient, submit: Submit, path: str
) -> None:
    counts = []
    for number in (1, 30):
        name, body = f"job-of-{number}", {"priority": 60} if path == PRIORITY else None
        for _ in range(number):
            submit(name=name)
        needed = {RELEASE: HOLD, START: CANCEL}.get(path)
        if needed:
            api.post(f"{needed}?name={name}")
        with CaptureQueriesContext(connection) as queries:
            assert len(outcome(api.post(f"{path}?name={name}", body))[0]) == number
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_the_same_key_gets_the_same_response_and_cancels_nothing_more(
    api: APIClient, submit: Submit
) -> None:
    first, headers = submit(), {"Idempotency-Key": "sweep"}

    once = api.post(f"{CANCEL}?name=job", headers=headers)
    later = submit()
    again = api.post(f"{CANCEL}?name=job", headers=headers)

    assert once.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert statuses(first, later) == ["cancelled", "pending"]


def waiting_for_a_lock(call: Callable[[], Any], meanwhile: Callable[[], object]) -> Any:
    """Make the call while this thread has an uncommitted change; return its response."""

    def in_thread() -> Any:
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            meanwhile()
            future = pool.submit(in_thread)
            deadline = monotonic() + 10
            while not is_any_lock_awaited():
                assert monotonic() < deadline, "the call does not wait for the lock"
                sleep(0.01)
        return future.result(timeout=10)


@pytest.mark.django_db(transaction=True)
def test_a_deployment_that_changes_during_the_call_is_skipped_and_named(
    api: APIClient, submit: Submit
) -> None:
    changed, untouched = submit(), submit()

    def raise_priority() -> None:
        services.adjust(changed, actor="olga", priority=99)

    answer = waiting_for_a_lock(lambda: api.post(f"{CANCEL}?priority_max=50"), raise_priority)

    assert outcome(answer) == ([untouched.pk], {changed.pk: "changed"})
    assert statuses(changed, untouched) == ["pending", "cancelled"]
