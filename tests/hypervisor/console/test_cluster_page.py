"""The page of one cluster: its deployments, timeline, reservation and drain."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from clusters import nodes
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster, Connection, Node
from clusters.nodes import NodeSpec
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import ClusterSample, SchedulingCycle
from scheduling.monitoring.minutes import take_sample
from tests.fixtures.deployments import Bring, Submit
from tests.support.reconcile import reconcile

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

    assert [r.name for r in answer.context["reservations"]] == ["patient"]
    assert [bar.reserved for bar in answer.context["bars"]] == [1000, 1024, 1]


def test_it_shows_what_reservations_kept_idle_of_it_and_of_the_organization(
    console: Client, acme: Organization, forge: Cluster
) -> None:
    cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(8000, 16384, 2)
    )
    take_sample()
    ClusterSample.objects.filter(cluster=forge).update(idle_gpu=0.2)

    text = page(console, forge)

    assert "<strong>10%</strong> of this cluster over the last 24 hours" in text
    assert "<strong>5%</strong> of all clusters of Acme (limit of the turns: 10%)" in text


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


def test_it_shows_its_nodes_with_what_is_allocated_and_offered(
    console: Client, rack: Cluster, submit: Submit, acme: Organization
) -> None:
    first, second = rack.nodes.all()
    nodes.cordon(second, actor="olga")
    Node.objects.filter(pk=second.pk).update(labels={"gpu.model": "h100"})
    submit(gpu=1)
    run_cycle(acme.pk, CHANGE)

    answer = console.get(reverse("cluster", args=[rack.pk]))

    rows = answer.context["nodes"]
    assert [(row.node.name, row.deployments) for row in rows] == [("gpu-1", 1), ("gpu-2", 0)]
    assert [bar.allocated for bar in rows[0].bars] == [1000, 1024, 1]
    offered = [[action.name for action in row.actions] for row in rows]
    assert offered == [
        ["cordon_node", "drain_node", "resize_node"],
        ["uncordon_node", "drain_node", "resize_node"],
    ]
    text = answer.content.decode()
    assert "gpu.model=h100" in text
    assert f'href="{reverse("preview", args=["drain_node"])}?id={first.pk}' in text
    assert "Resize…" not in text.split('id="nodes"')[0]


def test_it_shows_which_deployment_has_which_gpu_of_a_node(
    console: Client, forge: Cluster, bring: Bring
) -> None:
    bring(Status.RUNNING, gpu=1, name="needle", priority=80)
    Run.objects.update(launched_at=timezone.now(), devices=["1"])
    Connection.objects.create(
        cluster=forge, endpoint="tcp://engine", engine_id="engine", probed_at=timezone.now(),
        devices=["0", "1"],
    )  # fmt: skip

    answer = console.get(reverse("cluster", args=[forge.pk]))

    (row,) = answer.context["nodes"]
    (free, needle), = row.gpus.groups  # fmt: skip
    assert (free.kind, free.ids, needle.kind, needle.ids) == ("free", ["0"], "allocated", ["1"])
    text = answer.content.decode()
    assert 'title="needle, priority 80, allocated: GPU 1"' in text
    assert 'aria-label="GPUs of forge"' in text


def test_the_gpus_of_all_nodes_take_a_constant_number_of_queries(
    console: Client, acme: Organization, submit: Submit
) -> None:
    counts = []
    for number in range(2):
        specs = NodeSpec(f"gpu-{number}", Capacity(4000, 8192, 2)).repeated(3)
        cluster = cluster_services.create(
            actor="alice", organization=acme, name=f"rack-{number}", specs=specs[: 1 + 2 * number]
        )
        for _ in range(2 + 4 * number):
            submit(gpu=1, requested_cluster=cluster)
        run_cycle(acme.pk, CHANGE)
        page(console, cluster)
        with CaptureQueriesContext(connection) as queries:
            page(console, cluster)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_node_says_that_more_gpus_are_allocated_than_it_has(
    console: Client, forge: Cluster, bring: Bring
) -> None:
    bring(Status.RUNNING, gpu=2)
    Node.objects.filter(cluster=forge).update(gpu=1)

    assert "1 GPU more are allocated than forge has." in page(console, forge)


def test_a_viewer_is_offered_no_action_on_nodes(rack: Cluster) -> None:
    viewer = User.objects.create(username="vera", is_staff=True)
    viewer.groups.add(Group.objects.get(name="Viewers"))
    browser = Client()
    browser.force_login(viewer, "django.contrib.auth.backends.ModelBackend")

    rows = browser.get(reverse("cluster", args=[rack.pk])).context["nodes"]

    assert [row.actions for row in rows] == [[], []]


@pytest.mark.parametrize(
    ("sent", "labels"), [("", {}), ("{}", {}), ("[1]", None), ('"zone"', None), ("7", None)]
)
def test_labels_in_the_form_of_a_node_are_an_object(
    console: Client, rack: Cluster, sent: str, labels: dict[str, str] | None
) -> None:
    node = rack.nodes.all()[0]
    Node.objects.filter(pk=node.pk).update(labels={"zone": "a"})
    form = reverse("admin:clusters_node_change", args=[node.pk])

    answer = console.post(form, {"name": node.name, "labels": sent}, follow=True)

    node.refresh_from_db()
    assert node.labels == ({"zone": "a"} if labels is None else labels)
    assert ("Give an object" in answer.content.decode()) == (labels is None)


def test_an_operator_adds_labels_and_deletes_nodes(console: Client, rack: Cluster) -> None:
    console.post(
        reverse("admin:clusters_node_add"),
        {"cluster": rack.pk, "name": "gpu-3", "cpu_milli": 1000, "ram_mib": 1024, "gpu": 1,
         "labels": '{"zone": "a"}'},
    )  # fmt: skip
    node = rack.nodes.get(name="gpu-3")
    change = reverse("admin:clusters_node_change", args=[node.pk])
    refused = console.post(change, {"name": "gpu-3", "labels": '{"zone": "a b"}'}, follow=True)
    console.post(change, {"name": "gpu-9", "labels": '{"zone": "b"}'})

    rack.refresh_from_db()
    node.refresh_from_db()
    assert "is not a label" in refused.content.decode()
    assert (rack.gpu, node.name, node.labels) == (5, "gpu-9", {"zone": "b"})

    console.post(reverse("admin:clusters_node_delete", args=[node.pk]), {"post": "yes"})

    rack.refresh_from_db()
    assert (rack.gpu, rack.nodes.count()) == (4, 2)
