"""The operators' first page."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from clusters import nodes
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster, Node
from clusters.nodes import NodeSpec
from deployments import lifecycle, services
from deployments.choices import Status
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.console.dashboard import read
from hypervisor.console.dashboard.board import Dashboard
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import Sample, SchedulingCycle
from scheduling.monitoring.days import roll_up
from scheduling.monitoring.minutes import take_sample
from tests.fixtures.deployments import Bring, Submit


def launched() -> None:
    Run.objects.update(launched_at=timezone.now())


def test_it_shows_allocated_reserved_and_free_capacity_per_cluster_and_in_total(
    acme: Organization, bring: Bring, forge: Cluster
) -> None:
    cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(2000, 1024, 0)
    )
    bring(Status.RUNNING, cpu_milli=3000)
    launched()
    bring(Status.STARTING, cpu_milli=1000)

    board = read("6h", None)

    texts = {c.name: c.bars[0].texts for c in [board.total, *board.clusters]}
    assert texts["forge"] == ("3", "1", "4", "8")
    assert texts["anvil"] == ("0", "0", "2", "2")
    assert texts["All clusters"] == ("3", "1", "6", "10")
    assert (board.total.running, board.total.starting) == (1, 1)


def test_capacity_kept_for_a_starving_deployment_shows_as_reserved(
    bring: Bring, submit: Submit, forge: Cluster, endless_turns: None
) -> None:
    bring(Status.RUNNING, cpu_milli=6000, priority=90)
    launched()
    patient = submit(cpu_milli=4000, priority=50)
    Deployment.objects.filter(pk=patient.pk).update(queued_at=timezone.now() - timedelta(hours=2))
    take_sample()

    assert read("6h", None).total.bars[0].texts == ("6", "2", "0", "8")


def test_the_fullest_cluster_comes_first(acme: Organization, bring: Bring, forge: Cluster) -> None:
    cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(2000, 1024, 0)
    )
    bring(Status.RUNNING, cpu_milli=3000)
    launched()

    assert [cluster.name for cluster in read("6h", None).clusters] == ["forge", "anvil"]


def gpus(board: Dashboard) -> dict[str, tuple[tuple[str, ...], int, int]]:
    """Return by model: allocated, reserved, free and capacity; the most free on one node; nodes."""
    return {model.name: (model.bar.texts, model.largest, model.nodes) for model in board.gpu_models}


def test_gpus_are_shown_by_the_model_that_labels_name(
    acme: Organization, globex: Organization, bring: Bring
) -> None:
    a100, h100 = {"gpu.model": "a100"}, {"gpu.model": "h100", "zone": "a"}
    size = Capacity(8000, 8192, 8)
    cluster_services.create(
        actor="alice", organization=acme, name="rack",
        specs=[NodeSpec("a-1", size, a100), NodeSpec("a-2", size, a100), NodeSpec("h", size, h100)],
    )  # fmt: skip
    cluster_services.create(
        actor="charlie", organization=globex, name="other", specs=[NodeSpec("a", size, a100)]
    )
    bring(Status.RUNNING, gpu=1)
    launched()
    bring(Status.STARTING, gpu=1)

    assert gpus(read("6h", None)) == {
        "a100": (("0", "0", "24", "24"), 8, 3),
        "h100": (("0", "0", "8", "8"), 8, 1),
        "": (("1", "1", "0", "2"), 0, 1),
    }


def test_the_most_that_is_free_on_one_node_is_on_a_node_that_takes_deployments(
    rack: Cluster, submit: Submit, acme: Organization
) -> None:
    job = submit(gpu=1)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    job.refresh_from_db()
    both = gpus(read("6h", None))
    nodes.cordon(rack.nodes.exclude(deployments=job).get(), actor="alice")
    one = gpus(read("6h", None))
    cluster_services.cordon(rack, actor="alice")
    none = gpus(read("6h", None))

    found = [amounts[""] for amounts in (both, one, none)]
    assert [(texts[2], largest) for texts, largest, _ in found] == [("3", 2), ("3", 1), ("3", 0)]


def test_a_dashboard_without_gpus_shows_no_models(console: Client, acme: Organization) -> None:
    cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(2000, 1024, 0)
    )

    assert 'id="gpu-models"' not in console.get("/admin/").content.decode()


def test_nodes_without_a_model_are_shown_as_unlabelled(console: Client, forge: Cluster) -> None:
    Node.objects.update(labels={"gpu.model": ""})

    shown = console.get("/admin/").content.decode().split('id="gpu-models"')[1]

    assert "unlabelled" in shown.split("</table>")[0]


def test_the_waits_until_now_are_beside_those_of_placed_ones(
    console: Client, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING, gpu=2, priority=90)
    for hours in (1, 2, 6):
        waits = submit(gpu=1)
        queued_at = timezone.now() - timedelta(hours=hours)
        Deployment.objects.filter(pk=waits.pk).update(queued_at=queued_at)

    page = console.get("/admin/").content.decode()

    assert "Median wait now" in page
    assert ">2 h<" in page
    assert "the longest 6 h" in page
    assert "nothing was placed in the last hour" in page


def test_free_capacity_is_shown_by_organization(
    console: Client, alice: User, forge: Cluster, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING, gpu=2, priority=90)
    submit(gpu=1)
    other = Organization.objects.create(name="Initech")
    cluster_services.create(
        actor="alice", organization=other, name="idle", capacity=Capacity(4000, 2048, 8)
    )

    page = console.get("/admin/").content.decode()
    (table,) = re.findall(r'id="free-by-organization">(.*?)</table>', page, re.DOTALL)
    rows = [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)) for row in table.split("<tr>")[2:]]

    assert rows[0].split()[:5] == ["Acme", "1", "0", "of", "2"]
    assert rows[1].split()[:5] == ["Initech", "0", "8", "of", "8"]


def test_the_pending_deployments_are_counted_by_priority(submit: Submit, forge: Cluster) -> None:
    for priority in (90, 90, 20):
        submit(priority=priority)
    services.hold(submit(priority=20), actor="alice")
    later = timezone.now() + timedelta(hours=1)
    Deployment.objects.filter(pk=submit(priority=20).pk).update(ready_after=later)

    board = read("6h", None)

    rows = [(row.name, row.ready, row.held, row.delayed) for row in board.levels]
    assert rows == [("90", 2, 0, 0), ("20", 1, 1, 1)]
    assert (board.ready, board.held, board.delayed) == (3, 1, 1)


def test_many_priorities_are_grouped_by_tens(submit: Submit, forge: Cluster) -> None:
    for priority in range(1, 31, 2):
        submit(priority=priority)

    board = read("6h", None)

    assert [(row.name, row.ready) for row in board.levels] == [
        ("21 to 30", 5), ("11 to 20", 5), ("1 to 10", 5),
    ]  # fmt: skip


def test_the_last_hour_is_the_sum_of_its_minutes(bring: Bring, forge: Cluster) -> None:
    now = timezone.now()
    victim = bring(Status.RUNNING)
    change = Change(victim.pk, "preempted", preemptor=bring(Status.PENDING).pk)
    transition(lifecycle.EVICT, [change], actor="system:test", now=now)
    take_sample(now + timedelta(minutes=1))

    board = read("1h", None, now + timedelta(minutes=1))

    assert (board.hour.placed, board.hour.evicted) == (1, 1)
    assert board.hour.median_wait_s is not None
    assert [run.deployment for run in board.recent] == [victim]
    assert board.summary.endswith(f"Latest preemption: {victim.name}.")


@pytest.mark.parametrize("span", ["1h", "6h", "24h", "7d"])
def test_the_plots_reach_back_as_far_as_asked(bring: Bring, span: str) -> None:
    bring(Status.RUNNING, gpu=1)
    launched()
    take_sample(timezone.now() + timedelta(minutes=1))

    capacity, flow = read(span, None).plots

    assert [plot.title.split(":")[0] for plot in capacity] == ["GPU", "CPU", "RAM"]
    assert capacity[0].series[0].values[-1] == 1
    assert capacity[0].limit == 2
    assert all(len(plot.times) >= 60 for plot in [*capacity, *flow])


def test_the_plots_can_be_of_one_cluster(acme: Organization, bring: Bring, forge: Cluster) -> None:
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(2000, 1024, 0)
    )
    bring(Status.RUNNING, cpu_milli=3000)
    launched()
    take_sample(timezone.now() + timedelta(minutes=1))

    used = {
        name: read("1h", pk).plots[0][1].series[0].values[-1]
        for name, pk in (("all", None), ("forge", forge.pk), ("anvil", anvil.pk))
    }

    assert used == {"all": 3, "forge": 3, "anvil": 0}


def test_it_shows_how_much_of_the_capacity_reservations_kept_idle(
    console: Client, forge: Cluster
) -> None:
    take_sample()
    Sample.objects.filter(gpu=2).update(idle_gpu=0.1)
    roll_up()

    (idle,) = (plot for plot in read("1h", None).plots[1] if "idle" in plot.title)
    page = console.get("/admin/").content.decode()

    assert idle.series[0].values[-1] == pytest.approx(5)
    assert idle.limit == 10
    assert "<strong>5%</strong> of the capacity over the last 24 hours" in page
    assert "(limit of the turns: 10%)" in page
    assert '<td data-label="Kept idle" class="c-number">5%</td>' in page


def test_a_missing_sample_is_a_gap_and_not_zero(forge: Cluster) -> None:
    now = timezone.now()
    take_sample(now - timedelta(minutes=10))
    take_sample(now)

    waiting = read("1h", None).plots[1][0].series[0].values

    assert waiting[-1] == waiting[-11] == 0
    assert waiting[-10:-1] == [None] * 9


def test_a_day_is_measured_against_the_aims(bring: Bring, forge: Cluster) -> None:
    bring(Status.RUNNING)
    bring(Status.PENDING)
    take_sample()
    Sample.objects.update(inverted=2, packed=0.9, packable=1.0)
    roll_up()

    score = read("6h", None).scores[0]

    assert (score.ran, score.goodput) == (0.5, 1.0)
    assert score.packed == pytest.approx(0.9)
    assert "min behind lower priorities" in score.inversions


def test_the_page_shows_it_all(console: Client, bring: Bring, submit: Submit) -> None:
    bring(Status.RUNNING)
    submit()
    take_sample()
    roll_up()

    page = console.get("/admin/").content.decode()

    for text in ("Beat", "forge", "Waiting", "Priority inversions", "Goodput", 'data-refresh="5"'):
        assert text in page


def test_the_live_part_comes_without_the_layout(console: Client, forge: Cluster) -> None:
    page = console.get("/admin/", headers={"X-Fragment": "live"}).content.decode()

    assert "forge" in page
    assert "<html" not in page
    assert "<head" not in page


@pytest.mark.parametrize("query", ["span=ever", "cluster=x", "cluster=99999", "span=7d&cluster="])
def test_an_invalid_choice_shows_the_default_page(
    console: Client, forge: Cluster, query: str
) -> None:
    assert console.get(f"/admin/?{query}").status_code == 200


def test_an_empty_platform_has_a_dashboard(console: Client) -> None:
    page = console.get("/admin/").content.decode()

    assert "No deployment is waiting." in page
    assert "No deployment has been preempted." in page


def test_staff_without_the_permission_see_only_the_list_of_their_tables(
    db: None, forge: Cluster
) -> None:
    clerk = User.objects.create_user("clerk", password="not-tried", is_staff=True)
    browser = Client()
    browser.force_login(clerk, "django.contrib.auth.backends.ModelBackend")

    page = browser.get("/admin/")

    assert page.status_code == 200
    assert "forge" not in page.content.decode()


def test_the_page_takes_the_same_number_of_queries_for_any_number_of_rows(
    console: Client, acme: Organization, bring: Bring, submit: Submit
) -> None:
    counts = []
    for number in range(2):
        for _ in range(4):
            bring(Status.RUNNING, cpu_milli=10, ram_mib=1)
            victim = bring(Status.RUNNING, cpu_milli=10, ram_mib=1)
            change = Change(victim.pk, "preempted", preemptor=submit(cpu_milli=10, ram_mib=1).pk)
            transition(lifecycle.EVICT, [change], actor="system:test", now=timezone.now())
            cluster_services.create(
                actor="alice", organization=acme, name=f"c{victim.pk}", capacity=Capacity(1, 1, 0)
            )
        take_sample(timezone.now() + timedelta(minutes=number))
        console.get("/admin/")
        with CaptureQueriesContext(connection) as queries:
            console.get("/admin/")
        counts.append(len(queries))

    assert counts[0] == counts[1] <= 40
