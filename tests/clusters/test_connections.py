"""Connecting clusters to engines, and the reasons that prevent it."""

import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from pytest_django import Settings

from clusters import connections
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.connections import Route
from clusters.drivers.base import Cause, DriverError
from clusters.models import Cluster, Connection
from deployments.choices import Status
from hypervisor.base.errors import Conflict, Invalid
from hypervisor.base.secrets import encrypt
from orgs.models import Event
from tests.fixtures.deployments import Bring
from tests.fixtures.docker import NewEngine
from tests.support.certificates import Authority
from tests.support.docker_engine import Engine
from tests.support.factories import make_cluster
from tests.support.reconcile import driver_of

pytestmark = pytest.mark.django_db

docker = pytest.mark.docker


@pytest.fixture
def anvil(forge: Cluster) -> Cluster:
    """A second cluster of Acme."""
    return make_cluster(forge.organization, "anvil", cpu_milli=1000, ram_mib=1024)


@pytest.fixture
def route(engine: Engine) -> Route:
    return Route(
        driver="docker",
        endpoint=engine.socket,
        network=Connection.Network.NONE,
        devices=("0", "1"),
    )


def here(path: Path | str) -> Route:
    return Route(driver="docker", endpoint=f"unix://{path}")


# --- Without an engine ----------------------------------------------------------------------------


def test_an_unreachable_engine_is_not_connected(forge: Cluster, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be reached: No such file") as refused:
        connections.connect(forge, actor="olga", route=here(tmp_path / "docker.sock"))

    assert refused.value.attr == "endpoint"
    forge.refresh_from_db()
    assert forge.driver == "simulated"
    assert not Connection.objects.exists()


@pytest.mark.parametrize(
    "endpoint",
    ["", "/var/run/docker.sock", "unix://host/run", "http://127.0.0.1:2375", "ssh://root@host",
     "tcp://", "unix://"],
)  # fmt: skip
def test_an_endpoint_must_be_a_socket_or_an_address(forge: Cluster, endpoint: str) -> None:
    with pytest.raises(Invalid, match=r"unix:///path/of\.sock or tcp://host:port"):
        connections.probe(forge, Route(driver="docker", endpoint=endpoint))


def test_an_engine_on_the_network_needs_tls(forge: Cluster) -> None:
    with pytest.raises(Invalid, match="needs TLS"):
        connections.probe(forge, Route("docker", "tcp://engine.example.org:2375"))


def test_credentials_appear_in_no_representation() -> None:
    route = Route("docker", "tcp://h:1", credentials={"key": "PRIVATE"})
    connection = Connection(cluster=Cluster(name="forge"), endpoint="tcp://h:1")
    connection.seal_credentials(route.credentials)

    assert "PRIVATE" not in f"{route!r} {connection!r} {connection} {vars(connection)}"


def test_a_cluster_without_its_connection_is_unreachable(forge: Cluster) -> None:
    forge.driver = "docker"

    with pytest.raises(DriverError, match="has to connect it") as failed:
        driver_of(forge)

    assert failed.value.cause is Cause.UNREACHABLE


def test_credentials_that_no_key_decrypts_make_the_engine_unreachable(
    forge: Cluster, settings: Settings
) -> None:
    forge.driver = "docker"
    forge.save()
    connection = Connection(cluster=forge, endpoint="tcp://127.0.0.1:1", probed_at=timezone.now())
    connection.seal_credentials({"ca": "x"})
    connection.save()
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]

    with pytest.raises(DriverError, match="CREDENTIALS_KEYS") as failed:
        driver_of(forge).observe(timezone.now())

    assert failed.value.cause is Cause.UNREACHABLE


def test_after_a_rotation_the_old_key_is_no_longer_needed(
    forge: Cluster, settings: Settings
) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.CREDENTIALS_KEYS = [old]
    sealed = encrypt(json.dumps({"token": "secret"}))
    Connection.objects.create(
        cluster=forge, endpoint="tcp://h:1", credentials=sealed, probed_at=timezone.now()
    )
    settings.CREDENTIALS_KEYS = [new, old]

    assert connections.rotate_credentials() == 1

    settings.CREDENTIALS_KEYS = [new]
    assert Connection.objects.get().open_credentials() == {"token": "secret"}


# --- With an engine -------------------------------------------------------------------------------


@docker
def test_a_probe_returns_the_engine_s_amounts_and_warns_of_excess_capacity(
    forge: Cluster, route: Route, engine: Engine
) -> None:
    found = connections.probe(forge, route)

    info = engine.client.info()
    assert (found.cpu_milli, found.gpu) == (info["NCPU"] * 1000, 2)
    assert any("The cluster has 8 cores" in warning for warning in found.warnings)
    assert not any("GPU" in warning for warning in found.warnings)
    assert any("live-restore" in warning for warning in found.warnings)
    assert not Connection.objects.exists()


@docker
def test_a_probe_warns_of_other_containers(forge: Cluster, route: Route, engine: Engine) -> None:
    engine.client.containers.run(
        "test/busybox:1", ["sleep", "600"], detach=True, network_mode="none"
    )

    found = connections.probe(forge, route)

    assert any("Other containers run on the engine (1)" in warning for warning in found.warnings)


@docker
def test_a_connected_cluster_has_its_driver_and_an_event(forge: Cluster, route: Route) -> None:
    connections.connect(forge, actor="olga", route=route)

    forge.refresh_from_db()
    assert forge.driver == "docker"
    assert forge.connections.get().devices == ["0", "1"]
    assert driver_of(forge).observe(timezone.now()) == []
    event = Event.objects.filter(subject="cluster", kind="connected").get()
    assert event.actor == "olga"
    assert "docker.sock" not in event.reason


@docker
def test_a_cluster_cannot_grow_beyond_its_engine(
    forge: Cluster, route: Route, engine: Engine
) -> None:
    connections.connect(forge, actor="olga", route=route)
    has = connections.probe(forge, route)
    fits = Capacity(has.cpu_milli, has.ram_mib, has.gpu)
    cluster_services.update(forge, actor="alice", name="forge", capacity=fits)

    for excess in (
        Capacity(has.cpu_milli + 1, has.ram_mib, has.gpu),
        Capacity(has.cpu_milli, has.ram_mib + 1, has.gpu),
        Capacity(has.cpu_milli, has.ram_mib, has.gpu + 1),
    ):
        with pytest.raises(Conflict, match="its engine has only"):
            cluster_services.update(forge, actor="alice", name="forge", capacity=excess)

    forge.refresh_from_db()
    assert Capacity.of(forge) == fits


@docker
def test_a_process_keeps_a_driver_until_the_connection_changes(
    forge: Cluster, route: Route
) -> None:
    connections.connect(forge, actor="olga", route=route)
    forge.refresh_from_db()
    first = driver_of(forge)

    assert driver_of(forge) is first
    Connection.objects.update(devices=["0"])
    assert driver_of(forge) is not first


@docker
def test_an_engine_cannot_be_connected_to_a_second_cluster(
    forge: Cluster, anvil: Cluster, route: Route
) -> None:
    connections.connect(forge, actor="olga", route=route)

    with pytest.raises(Conflict, match="cluster forge of Acme"):
        connections.connect(anvil, actor="olga", route=route)

    assert Connection.objects.count() == 1


@docker
def test_a_cluster_changes_its_engine_only_when_empty(
    forge: Cluster, bring: Bring, route: Route
) -> None:
    bring(Status.RUNNING)

    with pytest.raises(Conflict, match="1 runs on its present engine"):
        connections.connect(forge, actor="olga", route=route)

    forge.refresh_from_db()
    assert forge.driver == "simulated"


@docker
def test_the_same_engine_can_be_connected_again_while_containers_run(
    forge: Cluster, bring: Bring, route: Route
) -> None:
    before = connections.connect(forge, actor="olga", route=route)
    bring(Status.RUNNING)

    after = connections.connect(forge, actor="olga", route=route)

    assert (after.pk, after.uid) == (before.pk, before.uid)


@docker
def test_an_empty_cluster_can_be_disconnected_and_is_cordoned(forge: Cluster, route: Route) -> None:
    connections.connect(forge, actor="olga", route=route)

    connections.disconnect(forge, actor="olga")

    forge.refresh_from_db()
    assert (forge.driver, forge.state) == ("simulated", Cluster.State.CORDONED)
    assert not Connection.objects.exists()


@docker
def test_a_cluster_with_containers_cannot_be_disconnected(
    forge: Cluster, bring: Bring, route: Route
) -> None:
    connections.connect(forge, actor="olga", route=route)
    bring(Status.RUNNING)

    with pytest.raises(Conflict, match="drain it"):
        connections.disconnect(forge, actor="olga")


@docker
def test_an_unreachable_engine_can_be_disconnected_only_if_it_is_gone_for_good(
    forge: Cluster, route: Route, engine: Engine
) -> None:
    connections.connect(forge, actor="olga", route=route)
    engine.kill()

    with pytest.raises(Conflict, match="gone for good"):
        connections.disconnect(forge, actor="olga")
    connections.disconnect(forge, actor="olga", engine_is_gone=True)

    assert not Connection.objects.exists()


@docker
def test_an_engine_on_the_network_needs_a_certificate_of_its_authority(
    forge: Cluster, new_engine: NewEngine
) -> None:
    authority = Authority()
    engine = new_engine(tls=authority)
    trusted, untrusted = authority.issue("hypervisor"), Authority("other").issue("hypervisor")

    def route(cert: str, key: str, ca: str = authority.certificate) -> Route:
        credentials = {"ca": ca, "cert": cert, "key": key}
        return Route("docker", engine.address, credentials=credentials)

    connections.connect(forge, actor="olga", route=route(trusted.certificate, trusted.key))

    forge.refresh_from_db()
    assert driver_of(forge).observe(timezone.now()) == []
    assert trusted.key.encode() not in bytes(forge.connections.get().credentials)
    with pytest.raises(Invalid, match="cannot be reached"):
        connections.probe(forge, route(untrusted.certificate, untrusted.key))
    with pytest.raises(Invalid, match="cannot be reached"):
        connections.probe(
            forge, route(trusted.certificate, trusted.key, Authority("other").certificate)
        )
