"""The queue page: the scheduler's order, wait reasons, filters, and the number of queries."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from deployments.specs import Spec
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight import forecast
from scheduling.insight.organization_queue import Filters, Group, Sort
from scheduling.insight.queue import Entry, Queue
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit

pytestmark = pytest.mark.django_db


def queue(group: Group = Group.COMPETING, **filters: object) -> list[Entry]:
    return Queue(Filters(**filters), timezone.now()).entries(group, 0, 100)  # type: ignore[arg-type]


def ids(entries: list[Entry]) -> list[int]:
    return [entry.deployment.pk for entry in entries]


@pytest.fixture
def full(bring: Bring) -> Deployment:
    """Forge's GPUs are allocated to a deployment of priority 99."""
    return bring(Status.RUNNING, gpu=2, priority=99)


def test_the_order_is_the_schedulers(full: Deployment, submit: Submit) -> None:
    large, small, high = submit(gpu=2), submit(gpu=1), submit(gpu=2, priority=90)

    entries = queue()

    assert ids(entries) == [high.pk, small.pk, large.pk]
    assert [entry.position for entry in entries] == [1, 2, 3]


def test_what_is_missing_on_each_cluster_is_shown_in_short(
    full: Deployment, submit: Submit, acme: Organization
) -> None:
    for name, gpu in (("tiny", 0), ("shut", 4)):
        made = cluster_services.create(
            actor="alice", organization=acme, name=name, capacity=Capacity(8000, 16384, gpu)
        )
    cluster_services.cordon(made, actor="alice")
    submit(gpu=1)

    (entry,) = queue()

    assert entry.code == "no_free_capacity"
    assert [(shortage.cluster, shortage.text) for shortage in entry.shortages] == [
        ("forge", "short of 1 GPU"), ("tiny", "too small"), ("shut", "cordoned"),
    ]  # fmt: skip
    assert "The only cluster that could run it" in entry.reason


def test_a_deployment_that_the_next_cycle_starts_is_marked(submit: Submit, forge: Cluster) -> None:
    submit()

    (entry,) = queue()

    assert entry.code == "next_cycle"
    assert entry.reason.startswith("The next cycle starts it. Needs ")


def test_deployments_that_do_not_compete_are_in_separate_groups(
    full: Deployment, submit: Submit
) -> None:
    held, waits, backs_off, ready = (submit(name=name) for name in "abcd")
    services.hold(held, actor="alice")
    services.update(
        waits, actor="alice", spec=Spec(
            name="b", image="busybox", cpu_milli=1000, ram_mib=1024, depends_on=(Wait(full.pk),)
        ),
    )  # fmt: skip
    later = timezone.now() + timedelta(minutes=5)
    Deployment.objects.filter(pk=backs_off.pk).update(ready_after=later)

    groups = {group: ids(queue(group)) for group in Group}

    assert groups == {
        Group.COMPETING: [ready.pk],
        Group.HELD: [held.pk],
        Group.DEPENDENCY: [waits.pk],
        Group.BACKOFF: [backs_off.pk],
        Group.ARRAY: [],
        Group.PLACED: [full.pk],
    }
    assert "to be completed; it is running" in queue(Group.DEPENDENCY)[0].reason


def test_filters_select_deployments(
    full: Deployment, submit: Submit, forge: Cluster, acme: Organization
) -> None:
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(1000, 1024, 0)
    )
    gpu, small = submit(gpu=1, name="training"), submit(priority=10, requested_cluster=anvil)

    assert ids(queue(cluster=anvil)) == [small.pk]
    assert ids(queue(cluster=forge)) == [gpu.pk]
    assert ids(queue(priority=10)) == [small.pk]
    assert ids(queue(search="train")) == [gpu.pk]
    assert ids(queue(search=str(small.pk))) == [small.pk]
    assert ids(queue(code="no_free_capacity")) == [gpu.pk]
    assert ids(queue(organization=acme.pk)) == [gpu.pk, small.pk]
    assert ids(queue(organization=acme.pk + 1)) == []
    assert ids(queue(Group.PLACED, cluster=forge)) == [full.pk]
    assert ids(queue(Group.PLACED, cluster=anvil)) == []


def test_the_heads_of_all_queues_come_first(
    full: Deployment, submit: Submit, charlie: User, globex: Organization, globex_cluster: Cluster
) -> None:
    first, second = submit(gpu=1), submit(gpu=2)
    spec = Spec(name="other", image="busybox", cpu_milli=1000, ram_mib=1024, priority=1)
    other = services.submit(created_by=charlie, organization=globex, spec=spec)

    assert ids(queue()) == [first.pk, other.pk, second.pk]


def test_the_page_shows_every_group_and_offers_the_actions_that_apply(
    console: Client, full: Deployment, submit: Submit
) -> None:
    submit(gpu=1, name="needle")

    competing = console.get(reverse("queue"))
    placed = console.get(reverse("queue"), {"group": "placed"})

    assert "needle" in competing.content.decode()
    assert [action.name for action in competing.context["actions"]] == [
        "hold", "reprioritize", "move", "cancel",
    ]  # fmt: skip
    assert [action.name for action in placed.context["actions"]] == [
        "preempt", "requeue", "move", "reprioritize", "stop",
    ]  # fmt: skip


def test_its_live_part_comes_without_the_layout(
    console: Client, submit: Submit, forge: Cluster
) -> None:
    submit(name="needle")

    part = console.get(reverse("queue"), headers={"X-Fragment": "live"}).content.decode()

    assert "needle" in part
    assert "<html" not in part


def test_victims_are_shown_with_their_preemptors(
    console: Client, bring: Bring, submit: Submit, acme: Organization
) -> None:
    bring(Status.RUNNING, gpu=2, priority=10, name="victim")
    submit(gpu=2, priority=90, name="preemptor")
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    (run,) = console.get(reverse("queue")).context["preemptions"]

    assert (run.deployment.name, run.preempted_by.name) == ("victim", "preemptor")


def test_an_overdue_cycle_is_reported(
    console: Client, full: Deployment, submit: Submit, acme: Organization
) -> None:
    submit(gpu=1)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    on_time = console.get(reverse("queue")).content.decode()

    SchedulingCycle.objects.update(started_at=timezone.now() - timedelta(minutes=5))
    late = console.get(reverse("queue")).content.decode()

    assert "do beat and worker run?" not in on_time
    assert "do beat and worker run?" in late


def test_it_has_pages_of_a_chosen_size(console: Client, full: Deployment, submit: Submit) -> None:
    for _ in range(60):
        submit(gpu=1)

    pages = [
        console.get(reverse("queue"), query).context["entries"]
        for query in ({}, {"page": "2"}, {"size": "200"}, {"size": "nonsense"})
    ]

    assert [len(entries) for entries in pages] == [50, 10, 60, 50]
    assert [entry.position for entry in pages[1]] == list(range(51, 61))


def test_it_opens_on_an_empty_platform(console: Client) -> None:
    answer = console.get(reverse("queue"))

    assert "No deployment is competing for capacity." in answer.content.decode()


def test_a_viewer_is_offered_no_action(full: Deployment, submit: Submit) -> None:
    submit(gpu=1)
    user = User.objects.create(username="vera", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_deployment"))
    client = Client()
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")

    answer = client.get(reverse("queue"))

    assert answer.context["actions"] == []
    assert "you may not change anything here" in answer.content.decode()


def test_a_user_who_may_not_see_deployments_does_not_see_the_queue() -> None:
    client = Client()
    user = User.objects.create(username="nobody", is_staff=True)
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")

    assert client.get(reverse("queue")).status_code == 403


@pytest.mark.parametrize(
    "query", [{"priority": "x"}, {"cluster": "9" * 30}, {"group": "?"}, {"page": "99"}, {"q": "²"}]
)
def test_an_invalid_query_still_shows_the_queue(
    console: Client, submit: Submit, forge: Cluster, query: dict[str, str]
) -> None:
    submit()

    assert console.get(reverse("queue"), query).status_code == 200


def test_a_page_takes_the_same_number_of_queries_at_any_length(
    console: Client, full: Deployment, submit: Submit
) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert console.get(reverse("queue")).status_code == 200
        return len(queries)

    submit(gpu=1)
    statements()
    few = statements()
    for _ in range(60):
        submit(gpu=1)

    assert statements() == few


def test_a_page_takes_the_same_number_of_queries_for_any_number_of_organizations(
    console: Client, full: Deployment, submit: Submit, bob: User
) -> None:
    def newcomers(count: int) -> None:
        for _ in range(count):
            number = Organization.objects.count()
            organization = Organization.objects.create(name=f"Newcomers {number}")
            cluster_services.create(
                actor="bob", organization=organization, name="own", capacity=Capacity(1, 1, 0)
            )
            row = submit()
            Deployment.objects.filter(pk=row.pk).update(organization=organization)

    def statements() -> int:
        forecast.forget_all()  # it keeps run times for some minutes
        with CaptureQueriesContext(connection) as queries:
            assert console.get(reverse("queue")).status_code == 200
        return len(queries)

    newcomers(1)
    statements()
    few = statements()
    newcomers(5)

    assert statements() == few
    assert len({entry.deployment.organization_id for entry in queue()}) == 6


def test_any_filters_select_the_same_part_of_the_whole_queue(
    full: Deployment, submit: Submit, acme: Organization, forge: Cluster
) -> None:
    """Some start, some wait for free capacity, and some request a closed cluster."""
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(1000, 1024, 0)
    )
    cluster_services.cordon(anvil, actor="alice")
    for number in range(24):
        wanted = {"requested_cluster": anvil} if number % 5 == 0 else {"gpu": number % 3}
        submit(name=f"job-{number}", priority=40 + number % 2, **wanted)
    whole = queue()

    assert {entry.code for entry in whole} == {
        "next_cycle", "no_free_capacity", "cluster_cordoned",
    }  # fmt: skip
    for code in ("", "next_cycle", "no_free_capacity", "cluster_cordoned", "reserved"):
        for priority in (None, 41):
            for search in ("", "job-1"):
                passing = [
                    entry
                    for entry in whole
                    if code in ("", entry.code)
                    and priority in (None, entry.deployment.priority)
                    and search in entry.deployment.name
                ]
                filters = Filters(priority=priority, code=code, search=search)
                filtered = Queue(filters, timezone.now())
                assert filtered.entries(Group.COMPETING, 1, 6) == passing[1:6]
                assert filtered.count(Group.COMPETING) == len(passing)
                if not code and passing:
                    first = min(entry.deployment.queued_at for entry in passing)
                    assert filtered.first_queued_at == int(first.timestamp())


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("wait", ["old", "high", "new"]), ("-wait", ["new", "high", "old"]),
        ("priority", ["high", "old", "new"]), ("-priority", ["old", "new", "high"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("group", ["competing", "held"])
def test_the_queue_is_sorted_by_wait_or_priority(
    full: Deployment, submit: Submit, console: Client, group: str, sort: str, order: list[str]
) -> None:
    for name, hours, priority in (("new", 1, 20), ("old", 5, 20), ("high", 3, 80)):
        made = submit(name=name, gpu=1, priority=priority)
        if group == "held":
            services.hold(made, actor="alice")
        queued_at = timezone.now() - timedelta(hours=hours)
        Deployment.objects.filter(pk=made.pk).update(queued_at=queued_at)

    page = console.get("/admin/queue/", {"group": group, "sort": sort}).content.decode()

    assert sorted(order, key=lambda name: page.index(f"Choose {name}")) == order


def test_the_order_is_kept_by_the_filters_and_the_links(
    full: Deployment, submit: Submit, console: Client
) -> None:
    for number in range(60):
        submit(name=f"waits-{number}", gpu=1)

    page = console.get("/admin/queue/", {"sort": "wait", "priority": "50"}).content.decode()

    assert '<input type="hidden" name="sort" value="wait">' in page
    assert "sort=wait&amp;page=2" in page.replace("priority=50&amp;", "")
    assert 'aria-sort="descending"><a class="c-sort" href="?sort=-wait&amp;priority=50"' in page


def test_the_position_is_the_schedulers_in_every_order(full: Deployment, submit: Submit) -> None:
    for number in range(5):
        submit(gpu=1 + number % 2, priority=10 * (number + 1))
    now = timezone.now()
    served = {
        e.deployment.pk: e.position for e in Queue(Filters(), now).entries(Group.COMPETING, 0, 9)
    }

    for sort in Sort:
        entries = Queue(Filters(), now).entries(Group.COMPETING, 1, 4, sort)
        assert len(entries) == 3
        assert all(entry.position == served[entry.deployment.pk] for entry in entries)


def test_the_queues_of_several_organizations_are_sorted_together(
    full: Deployment, submit: Submit, charlie: User, globex: Organization, globex_cluster: Cluster
) -> None:
    spec = Spec(name="other", image="busybox", cpu_milli=1000, ram_mib=1024, priority=30)
    other = services.submit(created_by=charlie, organization=globex, spec=spec)
    high, low = submit(gpu=1, priority=90), submit(gpu=1, priority=10)

    found = Queue(Filters(), timezone.now()).entries(Group.COMPETING, 0, 9, Sort.HIGHEST)

    assert ids(found) == [high.pk, other.pk, low.pk]
    assert [entry.position for entry in found] == [1, 1, 2]
