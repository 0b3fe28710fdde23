"""The operators' page of a cluster's engine."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster, Connection
from tests.fixtures.engines import NewFake
from tests.support.docker_engine import Engine
from tests.support.fake_engine import FakeEngine

pytestmark = pytest.mark.django_db

SECRET = "-----BEGIN PRIVATE KEY-----"


def page(cluster: Cluster) -> str:
    return reverse("admin:clusters_cluster_connect", args=[cluster.pk])


def sealed(html: str) -> str:
    found = re.search(r'name="sealed" value="([^"]+)"', html)
    assert found
    return found[1]


def staff(name: str, *permissions: str) -> Client:
    user = User.objects.create(username=name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    browser = Client()
    browser.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return browser


def test_only_users_who_may_connect_clusters_see_the_page(forge: Cluster) -> None:
    everything_else = ("view_cluster", "change_cluster", "steer_cluster", "resize_cluster")

    assert staff("ophelia", "connect_cluster").get(page(forge)).status_code == 200
    assert staff("otto", *everything_else).get(page(forge)).status_code == 403
    assert staff("oscar", *everything_else).post(page(forge)).status_code == 403


@pytest.mark.parametrize("engine", ["docker", "kubernetes"])
def test_an_error_is_shown_without_the_secrets(
    forge: Cluster, console: Client, engine: str
) -> None:
    answer = console.post(
        page(forge),
        {"step": "look", "engine": engine, "endpoint": "tcp://nowhere.invalid:2376",
         "network": "isolated", "key": SECRET, "cert": SECRET, "token": SECRET,
         "kubeconfig": SECRET},
    )  # fmt: skip

    html = answer.content.decode()
    assert answer.status_code == 200
    assert 'role="alert"' in html
    assert SECRET not in html
    assert not Connection.objects.exists()


@pytest.mark.parametrize("token", ["", " \n"])
def test_an_empty_token_is_named_at_its_field(forge: Cluster, console: Client, token: str) -> None:
    answer = console.post(
        page(forge),
        {"step": "look", "engine": "kubernetes", "namespace": "x", "token": token,
         "endpoint": "https://nowhere.invalid:6443"},
    )  # fmt: skip

    assert answer.context["form"].errors.keys() == {"token"}
    assert "Give the service account&#x27;s token, or a kubeconfig" in answer.content.decode()


@pytest.mark.docker
def test_an_engine_is_probed_first_and_then_saved(
    forge: Cluster, console: Client, engine: Engine
) -> None:
    form = {"step": "look", "engine": "docker", "endpoint": engine.socket, "network": "none",
            "devices": "GPU-1\nGPU-2\n"}  # fmt: skip
    looked = console.post(page(forge), form).content.decode()

    assert "The cluster has 8 cores" in looked
    assert "Disconnect" not in looked
    assert not Connection.objects.exists()

    saved = console.post(
        page(forge), {"step": "connect", "sealed": sealed(looked)}, follow=True
    ).content.decode()

    assert "Cluster forge is connected" in saved
    assert Connection.objects.get().devices == ["GPU-1", "GPU-2"]
    assert f'value="{engine.socket}"' in saved
    assert "GPU-1\nGPU-2</textarea>" in saved

    disconnected = console.post(page(forge), {"step": "disconnect"}, follow=True).content.decode()

    assert "disconnected, and cordoned" in disconnected
    assert not Connection.objects.exists()


@pytest.mark.docker
def test_only_the_same_operator_can_save_a_probed_engine_and_only_soon(
    forge: Cluster, globex_cluster: Cluster, console: Client, engine: Engine
) -> None:
    form = {"step": "look", "engine": "docker", "endpoint": engine.socket, "network": "none"}
    answer = {"step": "connect", "sealed": sealed(console.post(page(forge), form).content.decode())}

    staff("ophelia", "connect_cluster").post(page(forge), answer)
    console.post(page(globex_cluster), answer)
    console.post(page(forge), answer | {"sealed": answer["sealed"][:-2]})
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        console.post(page(forge), answer)

    assert not Connection.objects.exists()
    console.post(page(forge), answer)
    assert Connection.objects.get().cluster == forge


@pytest.mark.docker
def test_the_list_of_connections_shows_no_credentials(
    forge: Cluster, console: Client, engine: Engine
) -> None:
    console.post(
        page(forge),
        {"step": "connect", "sealed": sealed(console.post(page(forge), {
            "step": "look", "engine": "docker", "endpoint": engine.socket, "network": "none",
        }).content.decode())},
    )  # fmt: skip
    connection = Connection.objects.get()
    connection.seal_credentials({"token": SECRET})
    connection.save()

    one = reverse("admin:clusters_connection_change", args=[connection.pk])
    for path in (reverse("admin:clusters_connection_changelist"), one, page(forge)):
        html = console.get(path).content.decode()
        assert engine.socket in html
        assert SECRET not in html
        assert bytes(connection.credentials).decode() not in html


# --- An engine for each node ----------------------------------------------------------------------


def form_for(name: str) -> dict[str, str]:
    return {"step": "look", "engine": "docker", "node": name, "endpoint": f"fake://{name}",
            "network": "none", "devices": "g0\ng1"}  # fmt: skip


def test_each_node_is_connected_on_its_own(
    rack: Cluster, console: Client, new_fake: NewFake
) -> None:
    new_fake("gpu-1")
    new_fake("gpu-2")

    first = console.get(f"{page(rack)}?engine=docker")
    looked = console.post(page(rack), form_for("gpu-1")).content.decode()
    save = {"step": "connect", "engine": "docker", "sealed": sealed(looked)}
    console.post(page(rack), save | {"node": "gpu-2"})
    assert not Connection.objects.exists()
    saved = console.post(page(rack), save | {"node": "gpu-1"}, follow=True)

    assert (first.context["node"], saved.context["node"]) == ("gpu-1", "gpu-2")
    assert "Capacity of node gpu-1" in looked
    html = saved.content.decode()
    assert "Node gpu-1 of cluster rack is connected." in html
    assert "Node gpu-1 is connected" in html
    assert "gpu-2, no engine" in html
    assert Connection.objects.get().node == rack.nodes.get(name="gpu-1")


def test_the_form_of_a_connected_node_has_its_values(
    rack: Cluster, console: Client, rigs: dict[str, FakeEngine]
) -> None:
    answer = console.get(f"{page(rack)}?engine=docker&node=gpu-2")

    html = answer.content.decode()
    assert 'value="fake://gpu-2"' in html
    assert "g0\ng1</textarea>" in html
    assert "Change the connection: node gpu-2" in html
    assert html.count("is connected</h2>") == 2


def test_one_node_is_disconnected(
    rack: Cluster, console: Client, rigs: dict[str, FakeEngine]
) -> None:
    form = {"step": "disconnect", "node": "gpu-2"}

    html = console.post(page(rack), form, follow=True).content.decode()

    assert "Node gpu-2 of cluster rack is disconnected, and cordoned." in html
    assert Connection.objects.get().node == rack.nodes.get(name="gpu-1")


def test_a_node_that_does_not_exist_is_an_error(
    rack: Cluster, console: Client, new_fake: NewFake
) -> None:
    html = console.post(page(rack), form_for("gpu-3")).content.decode()

    assert "Cluster rack has no node gpu-3: name one of gpu-1, gpu-2, or add it first." in html


def test_a_silent_engine_of_several_is_shown_with_its_node_and_declared_lost_there(
    rack: Cluster, console: Client, rigs: dict[str, FakeEngine]
) -> None:
    Connection.objects.filter(node__name="gpu-2").update(
        lost_contact_at=timezone.now() - timedelta(minutes=2), last_error="no route to host"
    )

    answer = console.get(reverse("cluster", args=[rack.pk]))

    html = answer.content.decode()
    assert "No contact with the engine of gpu-2" in html
    assert "gpu-2: no contact" in html
    assert "declare_lost" not in [action.name for action in answer.context["steps"]]
    offered = [[action.name for action in row.actions] for row in answer.context["nodes"]]
    assert ["declare_node_lost" in names for names in offered] == [False, True]
    node = rack.nodes.get(name="gpu-2")
    shown = console.get(f"{reverse('preview', args=['declare_node_lost'])}?id={node.pk}")
    assert shown.status_code == 200
    listed = console.get(reverse("admin:clusters_connection_changelist")).content.decode()
    assert "gpu-1" in listed


def test_containers_that_nobody_knows_are_shown_with_their_node(
    rack: Cluster, console: Client, rigs: dict[str, FakeEngine]
) -> None:
    stranger = {"uid": "u", "run": 1, "name": "mlops-1", "image": "i", "command": [], "runs": True}
    Connection.objects.filter(node__name="gpu-2").update(unknown_containers=[stranger])

    html = console.get(reverse("cluster", args=[rack.pk])).content.decode()

    assert "Unknown containers on gpu-2 of rack" in html
    assert f"manage.py claim_engine {rack.pk} --node gpu-2" in html
