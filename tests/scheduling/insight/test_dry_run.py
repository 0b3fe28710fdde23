"""POST /deployments?dry_run=true shows what would happen and changes nothing."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments import services
from deployments.bulk import Entry
from deployments.dependencies import Wait
from deployments.models import Array, Dependency, Deployment
from deployments.runtime.models import Run
from deployments.specs import Spec
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.dry_run import dry_run
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal

KEYS = {
    "outcome",
    "code",
    "reason",
    "cluster",
    "node",
    "evictions",
    "moves",
    "clusters",
    "forecast",
}
BODY = {"name": "job", "image": "busybox", "cpu": 2, "ram_mib": 1024}
DRY = "/deployments?dry_run=true"


@pytest.fixture
def api(bob: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(bob)


def rows() -> list[int]:
    models = (Deployment, Array, Dependency, Run, Event, SchedulingCycle)
    return [model.objects.count() for model in models]


def dry_run_of(api: APIClient, **more: Any) -> dict[str, Any]:
    before = rows()
    response = api.post(DRY, BODY | more)
    assert response.status_code == 200, response.data
    assert set(response.data) == KEYS | ({"array"} if "array" in more else set())
    assert rows() == before
    return dict(response.json())


def cycle(organization: Organization) -> None:
    run_cycle(organization.pk, SchedulingCycle.Trigger.CHANGE)


def test_a_submission_that_fits_would_run_on_a_named_cluster(
    api: APIClient, forge: Cluster
) -> None:
    result = dry_run_of(api)

    assert (result["outcome"], result["code"], result["cluster"]) == ("run", "placed", forge.pk)
    assert "in free capacity" in result["reason"]
    assert (result["evictions"], result["moves"], result["clusters"]) == ([], [], [])


def test_a_higher_priority_would_preempt_named_victims(
    api: APIClient, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    cycle(acme)

    result = dry_run_of(api, priority=90)

    assert (result["outcome"], result["code"], result["cluster"]) == (
        "preempt",
        "preempting",
        forge.pk,
    )
    (eviction,) = result["evictions"]
    assert set(eviction) == {
        "deployment", "name", "priority", "cluster", "node", "lost_s", "reason",
    }  # fmt: skip
    assert (eviction["deployment"], eviction["priority"]) == (victim.pk, 10)
    victim.refresh_from_db()
    assert victim.status == "starting"


def test_a_victim_that_would_only_move_is_listed_as_a_move(
    api: APIClient, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    mover = submit(cpu_milli=1000, priority=10)
    cycle(acme)
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(2000, 4096, 0)
    )

    result = dry_run_of(api, priority=90, cpu=8)

    assert (result["outcome"], result["evictions"]) == ("preempt", [])
    (move,) = result["moves"]
    assert set(move) == {
        "deployment", "name", "priority", "source", "source_node", "target", "target_node",
        "lost_s", "reason",
    }  # fmt: skip
    assert move["target_node"] == anvil.nodes.get().pk
    assert (move["deployment"], move["source"], move["target"]) == (mover.pk, forge.pk, anvil.pk)


def test_a_submission_without_free_capacity_would_wait_for_a_reason(
    api: APIClient, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=7000, priority=90)
    cycle(acme)

    result = dry_run_of(api, priority=80)

    assert (result["outcome"], result["code"], result["cluster"]) == (
        "wait",
        "no_free_capacity",
        None,
    )
    (row,) = result["clusters"]
    assert (row["cluster"], row["missing"]) == (forge.pk, {"cpu": 1, "ram_mib": 0, "gpu": 0})


def test_a_submission_with_dependencies_would_wait_for_them(api: APIClient, submit: Submit) -> None:
    first = submit()

    result = dry_run_of(api, depends_on=[first.pk])

    assert (result["outcome"], result["code"]) == ("wait", "dependency")
    assert f"deployment {first.pk}" in result["reason"]


def test_a_submission_that_fits_only_on_a_cordoned_cluster_would_wait(
    api: APIClient, forge: Cluster
) -> None:
    cluster_services.cordon(forge, actor="alice")

    result = dry_run_of(api)

    assert (result["outcome"], result["code"]) == ("wait", "cluster_cordoned")


def test_the_next_cycle_does_what_the_dry_run_returned(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    for priority in (10, 20, 30, 40):
        submit(cpu_milli=2000, priority=priority)
    cycle(acme)
    result = dry_run_of(api, priority=90, cpu=5)
    created = api.post("/deployments", BODY | {"priority": 90, "cpu": 5}).data

    cycle(acme)

    evicted = Run.objects.filter(preempted_by=created["id"]).values_list("deployment", flat=True)
    assert sorted(evicted) == [row["deployment"] for row in result["evictions"]]
    assert len(evicted) == 3


def test_the_dry_run_of_an_array_plans_all_of_its_elements(
    api: APIClient, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    for priority in (10, 20, 30, 40):
        submit(cpu_milli=2000, priority=priority)
    cycle(acme)
    array = {"size": 12, "at_once": 3}

    result = dry_run_of(api, priority=90, array=array)
    created = api.post("/deployments", BODY | {"priority": 90, "array": array}).data
    cycle(acme)

    elements = Deployment.objects.filter(array=created["array"]["id"])
    evicted = Run.objects.filter(preempted_by__in=elements).values_list("deployment", flat=True)
    assert len(evicted) == elements.filter(status="starting").count() == 3
    assert {row["deployment"] for row in result["evictions"]} == set(evicted)
    assert [row["priority"] for row in result["evictions"]] == [30, 20, 10]
    assert (result["outcome"], result["code"], result["cluster"]) == (
        "preempt",
        "preempting",
        forge.pk,
    )
    assert result["reason"].startswith(
        "3 of 12 elements start, the others wait. The first: Needs 2 CPU, 1 GiB RAM"
    )
    elements_of = result["array"]
    assert [each["index"] for each in elements_of.pop("starts")] == [0, 1, 2]
    assert elements_of == {
        **array, "starting": 3, "waiting": 9, "evicted": 3, "moved": 0,
        "waits": [
            {
                "count": 9, "code": "array_limit",
                "reason": "Its array runs at most 3 elements at once: waits until another one has"
                " ended.",
            }
        ],
    }  # fmt: skip


def test_the_dry_run_of_an_array_counts_why_its_elements_wait(
    api: APIClient, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first = submit(cpu_milli=1000, priority=90)
    cycle(acme)
    array = {"size": 200, "at_once": 50}

    some = dry_run_of(api, cpu=0.5, ram_mib=1, array=array)
    none = dry_run_of(api, cpu=8, array=array)
    after = dry_run_of(api, depends_on=[first.pk], array=array)

    assert (some["outcome"], some["array"]["starting"], some["clusters"]) == ("run", 14, [])
    assert len(some["array"]["starts"]) == 10
    assert [(each["code"], each["count"]) for each in some["array"]["waits"]] == [
        ("no_free_capacity", 36),
        ("array_limit", 150),
    ]
    assert (none["outcome"], none["code"], none["array"]["starting"]) == (
        "wait",
        "no_free_capacity",
        0,
    )
    assert none["reason"].startswith("All 200 elements wait: Needs 8 CPU")
    assert [row["cluster"] for row in none["clusters"]] == [forge.pk]
    assert (after["code"], after["array"]["waiting"]) == ("dependency", 200)
    assert [each["count"] for each in after["array"]["waits"]] == [200]


def test_the_dry_run_of_an_array_keeps_the_limits_on_what_is_pending(
    api: APIClient, settings: Any
) -> None:
    settings.MAX_PENDING_PER_ORGANIZATION = 5
    array = {"size": 6, "at_once": 3}

    for query in ("", "?dry_run=true"):
        error = refusal(api.post(f"/deployments{query}", BODY | {"array": array}), 409)
        assert error["code"] == "limit_reached"
    dry_run_of(api, array=array | {"size": 5})


@pytest.mark.parametrize(
    ("more", "code"),
    [({"cpu": 9}, "exceeds_capacity"), ({"depends_on": [999999]}, "invalid"), ({"cpu": 0}, None)],
)
def test_a_dry_run_is_refused_like_the_submission(
    api: APIClient, more: dict[str, Any], code: str | None
) -> None:
    before = rows()

    error = refusal(api.post(DRY, BODY | more), 400)

    assert code in (None, error["code"])
    assert rows() == before


def test_a_false_dry_run_submits(api: APIClient) -> None:
    assert api.post("/deployments?dry_run=false", BODY).status_code == 201


def test_a_dry_run_names_no_victim_of_another_organization(
    api: APIClient, acme: Organization, globex: Organization, globex_cluster: Cluster,
    charlie: User, submit: Submit,
) -> None:  # fmt: skip
    foreign = services.submit(
        created_by=charlie, organization=globex,
        spec=Spec(name="foreign", image="x", cpu_milli=8000, ram_mib=1024, priority=1),
    )  # fmt: skip
    cycle(globex)
    own = submit(cpu_milli=8000, priority=10)
    cycle(acme)

    result = dry_run_of(api, priority=90)

    assert [row["deployment"] for row in result["evictions"]] == [own.pk]
    foreign.refresh_from_db()
    assert foreign.status == "starting"


def test_a_dry_run_takes_the_same_number_of_queries_for_any_number_of_active_deployments(
    acme: Organization, forge: Cluster, bob: User, submit: Submit
) -> None:
    spec = Spec(name="job", image="x", cpu_milli=1, ram_mib=1, depends_on=(Wait(submit().pk),))
    entry = Entry(acme, spec)
    counts = []
    for more in (1, 20):
        for _ in range(more):
            submit(cpu_milli=10, ram_mib=1)
        cycle(acme)
        with CaptureQueriesContext(connection) as queries:
            dry_run(created_by=bob, entry=entry)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_dry_run_requests_no_cycle(
    api: APIClient, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        dry_run_of(api)

    assert callbacks == []
