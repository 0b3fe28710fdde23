"""The page of a cluster, and adding one."""

from typing import Any

import pytest
from django.urls import reverse

from accounts.models import User
from clusters import services
from clusters.models import Cluster
from deployments.choices import Status
from orgs.models import Organization, Role
from tests.fixtures.deployments import Bring, MemberAs
from tests.hypervisor.portal.conftest import Browse

GIVEN = {"name": "rack-1", "nodes": "2", "cpu": "64", "ram": "256Gi", "gpu": "8"}


def test_an_admin_adds_a_cluster(browse: Browse, acme: Organization, member_as: MemberAs) -> None:
    given = GIVEN | {"organization": str(acme.pk), "gpu_model": "h100"}
    answer = browse(member_as(Role.ADMIN)).post(reverse("portal:new_cluster"), given)
    made = Cluster.objects.get()
    assert answer["Location"] == reverse("portal:start")
    assert (made.cpu_milli, made.ram_mib, made.gpu) == (128_000, 512 * 1024, 16)
    assert [(n.name, n.labels) for n in made.nodes.all()] == [
        ("node-1", {"gpu.model": "h100"}),
        ("node-2", {"gpu.model": "h100"}),
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpu", "many"), ("ram", "lots"), ("gpu", "-1"), ("gpu_model", "two words"), ("nodes", "0")],
)
def test_errors_stand_beside_their_fields(
    browse: Browse, acme: Organization, alice: User, field: str, value: str
) -> None:
    given = GIVEN | {"organization": str(acme.pk), field: value}
    answer = browse(alice).post(reverse("portal:new_cluster"), given)
    assert set(answer.context["form"].errors) == {field}
    assert not Cluster.objects.exists()


def test_all_errors_are_shown_at_once(browse: Browse, acme: Organization, alice: User) -> None:
    wrong = {"nodes": "0", "cpu": "many", "ram": "lots", "gpu": "-1", "gpu_model": "two words"}
    given = GIVEN | {"organization": str(acme.pk)} | wrong
    answer = browse(alice).post(reverse("portal:new_cluster"), given)
    assert set(answer.context["form"].errors) == set(wrong)


def test_a_name_in_use_is_refused_beside_the_field(
    browse: Browse, acme: Organization, alice: User, forge: Cluster
) -> None:
    given = GIVEN | {"organization": str(acme.pk), "name": "forge"}
    answer = browse(alice).post(reverse("portal:new_cluster"), given)
    assert "already has a cluster" in answer.context["form"].errors["name"][0]


def test_a_developer_adds_none(browse: Browse, acme: Organization, bob: User) -> None:
    path = reverse("portal:new_cluster")
    assert browse(bob).get(path, {"organization": acme.pk}).status_code == 403
    answer = browse(bob).post(path, GIVEN | {"organization": str(acme.pk)})
    assert answer.context["form"].errors["organization"]
    assert not Cluster.objects.exists()


def test_a_stranger_gets_404(browse: Browse, forge: Cluster, charlie: User) -> None:
    browser = browse(charlie)
    assert browser.get(reverse("portal:cluster", args=[forge.pk])).status_code == 404
    path = reverse("portal:new_cluster")
    assert browser.get(path, {"organization": forge.organization_id}).status_code == 404


def test_it_shows_nodes_deployments_and_the_state(
    browse: Browse, forge: Cluster, bob: User, bring: Bring
) -> None:
    row = bring(Status.RUNNING, name="training", gpu=1)
    services.drain(forge, actor="alice")
    shown: Any = browse(bob).get(reverse("portal:cluster", args=[forge.pk]))
    assert list(shown.context["deployments"]) == [row]
    said = shown.content.decode()
    assert "Started by <strong>alice</strong>" in said
    assert "0 of 1 deployments no longer run here" in said


def test_an_admin_drains_after_a_preview(
    browse: Browse, forge: Cluster, alice: User, bring: Bring
) -> None:
    row = bring(Status.RUNNING, name="training", gpu=1)
    browser = browse(alice)
    path = reverse("portal:steer", args=[forge.pk, "drain"])
    assert path in browser.get(reverse("portal:cluster", args=[forge.pk])).content.decode()
    shown: Any = browser.get(path)
    assert row.name in shown.content.decode()
    forge.refresh_from_db()
    assert forge.state == Cluster.State.ACTIVE
    done = browser.post(path, {"shown": shown.context["preview"].fingerprint})
    assert done["Location"] == reverse("portal:cluster", args=[forge.pk])
    forge.refresh_from_db()
    assert forge.state == Cluster.State.DRAINING


def test_an_admin_cordons_a_node(browse: Browse, rack: Cluster, alice: User) -> None:
    node = rack.nodes.get(name="gpu-2")
    path = reverse("portal:steer_node", args=[node.pk, "cordon_node"])
    browser = browse(alice)
    assert path in browser.get(reverse("portal:cluster", args=[rack.pk])).content.decode()
    shown: Any = browser.get(path)
    browser.post(path, {"shown": shown.context["preview"].fingerprint})
    node.refresh_from_db()
    assert node.state == "cordoned"


def test_a_developer_steers_nothing(browse: Browse, rack: Cluster, bob: User) -> None:
    browser = browse(bob)
    said = browser.get(reverse("portal:cluster", args=[rack.pk])).content.decode()
    assert "drain" not in said.lower()
    assert browser.post(reverse("portal:steer", args=[rack.pk, "drain"])).status_code == 403
    node = rack.nodes.first()
    assert node
    path = reverse("portal:steer_node", args=[node.pk, "drain_node"])
    assert browser.post(path).status_code == 403


def test_what_is_for_operators_is_404(browse: Browse, rack: Cluster, alice: User) -> None:
    browser = browse(alice)
    for action in ("declare_lost", "stop", "drain_node", "nonsense"):
        path = reverse("portal:steer", args=[rack.pk, action])
        assert browser.get(path).status_code == 404


def test_the_clusters_of_others_are_404(browse: Browse, rack: Cluster, charlie: User) -> None:
    assert browse(charlie).get(reverse("portal:steer", args=[rack.pk, "drain"])).status_code == 404


def test_an_admin_adds_a_node(browse: Browse, forge: Cluster, alice: User, bob: User) -> None:
    path = reverse("portal:new_node", args=[forge.pk])
    given = {"name": "anvil", "cpu": "4", "ram": "8Gi", "gpu": "1", "gpu_model": "l4"}
    assert browse(bob).post(path, given).status_code == 403
    wrong = browse(alice).post(path, given | {"name": "Anvil 1"})
    assert set(wrong.context["form"].errors) == {"name"}
    taken = browse(alice).post(path, given | {"name": "forge"})
    assert set(taken.context["form"].errors) == {"name"}
    browse(alice).post(path, given)
    made = forge.nodes.get(name="anvil")
    assert (made.cpu_milli, made.ram_mib, made.gpu) == (4000, 8192, 1)
    assert made.labels == {"gpu.model": "l4"}


def test_without_an_organization_it_says_what_to_do(browse: Browse, charlie: User) -> None:
    said = browse(charlie).get(reverse("portal:new_cluster")).content.decode()
    assert reverse("portal:new_organization") in said
    assert "<select" not in said


def test_a_developer_is_told_who_adds_clusters(
    browse: Browse, acme: Organization, bob: User
) -> None:
    assert "Ask an admin" in browse(bob).get(reverse("portal:new_cluster")).content.decode()


def test_an_admin_renames_a_cluster(
    browse: Browse, forge: Cluster, rack: Cluster, alice: User, bob: User
) -> None:
    path = reverse("portal:rename_cluster", args=[rack.pk])
    assert browse(bob).post(path, {"name": "anvil"}).status_code == 403
    taken = browse(alice).post(path, {"name": "forge"})
    assert set(taken.context["form"].errors) == {"name"}
    browse(alice).post(path, {"name": "anvil"})
    rack.refresh_from_db()
    assert (rack.name, rack.cpu_milli) == ("anvil", 8000)


def test_an_admin_deletes_a_node(
    browse: Browse, forge: Cluster, rack: Cluster, alice: User, bob: User, charlie: User
) -> None:
    first, second = rack.nodes.order_by("pk")
    path = reverse("portal:delete_node", args=[first.pk])
    browser = browse(alice)
    assert path in browser.get(reverse("portal:cluster", args=[rack.pk])).content.decode()
    assert browse(bob).post(path).status_code == 403
    assert browse(charlie).post(path).status_code == 404
    browser.post(path)
    assert list(rack.nodes.all()) == [second]
    last = reverse("portal:delete_node", args=[second.pk])
    assert last not in browser.get(reverse("portal:cluster", args=[rack.pk])).content.decode()
    assert "only one" in browser.post(last, follow=True).content.decode()


def test_an_admin_deletes_a_cluster_on_which_nothing_runs(
    browse: Browse, forge: Cluster, rack: Cluster, alice: User, bob: User, bring: Bring
) -> None:
    bring(Status.RUNNING)
    path = reverse("portal:delete_cluster", args=[forge.pk])
    assert browse(bob).post(path).status_code == 403
    refused = browse(alice).post(path, follow=True)
    assert "drain it or stop them" in refused.content.decode()
    browse(alice).post(reverse("portal:delete_cluster", args=[rack.pk]))
    assert list(Cluster.objects.all()) == [forge]
