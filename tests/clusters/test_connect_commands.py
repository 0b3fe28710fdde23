import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from clusters.models import Cluster, Connection
from orgs.models import Organization
from tests.support.docker_engine import Engine
from tests.support.factories import make_cluster

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


@pytest.mark.docker
def test_a_cluster_is_connected_and_disconnected_by_its_name(
    forge: Cluster, engine: Engine
) -> None:
    output = run("connect_cluster", "forge", "--docker", engine.socket, "--yes")

    assert "Warning: The cluster has 8 cores" in output
    assert f"Connected cluster forge ({forge.pk})." in output
    assert Connection.objects.get().cluster == forge

    output = run("disconnect_cluster", str(forge.pk))

    assert "Disconnected" in output
    assert not Connection.objects.exists()


@pytest.mark.docker
def test_connecting_again_keeps_options_that_are_not_given(forge: Cluster, engine: Engine) -> None:
    first = ("--network", "none", "--gpu-device", "GPU-1", "--gpu-device", "GPU-2")
    run("connect_cluster", "forge", "--docker", engine.socket, "--yes", *first)

    run("connect_cluster", "forge", "--docker", engine.socket, "--yes")

    connection = Connection.objects.get()
    assert (connection.network, connection.devices) == ("none", ["GPU-1", "GPU-2"])


@pytest.mark.docker
def test_warnings_need_the_option_yes_without_a_terminal(forge: Cluster, engine: Engine) -> None:
    with pytest.raises(CommandError, match="add --yes"):
        run("connect_cluster", "forge", "--docker", engine.socket)

    assert not Connection.objects.exists()


def test_an_unreachable_engine_is_reported_without_a_traceback(
    forge: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match="No such file or directory"):
        run("connect_cluster", "forge", "--docker", f"unix://{tmp_path}/docker.sock")


def test_an_unknown_or_ambiguous_cluster_is_refused_with_suggestions(
    forge: Cluster, globex: Organization
) -> None:
    make_cluster(globex, "forge")

    with pytest.raises(CommandError, match=rf"(?s)no cluster nowhere. .*{forge.pk}  forge \(Acme"):
        run("disconnect_cluster", "nowhere")
    with pytest.raises(CommandError, match=rf"(?s)2 clusters .*{forge.pk}  forge \(Acme"):
        run("disconnect_cluster", "forge")


def test_an_unreadable_file_is_reported(forge: Cluster, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        run("connect_cluster", "forge", "--docker", "tcp://h:1", f"--tls-ca={tmp_path}/none.pem")


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_file_is_reported(forge: Cluster, tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)

    with pytest.raises(CommandError, match=rf"--token: {file} is empty"):
        run("connect_cluster", "forge", "--kubernetes", "--namespace=x", f"--token={file}")


def test_kubernetes_needs_a_namespace(forge: Cluster) -> None:
    with pytest.raises(CommandError, match="--namespace"):
        run("connect_cluster", "forge", "--kubernetes")
