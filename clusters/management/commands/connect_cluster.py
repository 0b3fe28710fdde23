import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from clusters import connections
from clusters.connections import Route
from clusters.drivers.base import Probe
from clusters.management.naming import ACTOR, cluster_named
from clusters.models import Cluster, Connection
from clusters.resources import describe
from hypervisor.base import commands
from hypervisor.base.errors import DomainError


class Command(commands.Command):
    help = "Connect a cluster to the engine that runs its containers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cluster", metavar="CLUSTER", help="its name or its id")
        parser.add_argument("--yes", action="store_true", help="connect in spite of warnings")
        engines = parser.add_mutually_exclusive_group(required=True)
        engines.add_argument(
            "--docker", metavar="ENDPOINT", help="unix:///var/run/docker.sock or tcp://host:2376"
        )
        engines.add_argument("--kubernetes", action="store_true", help="a Kubernetes cluster")
        docker = parser.add_argument_group("Docker")
        for name, what in (("ca", "authority"), ("cert", "client's certificate"), ("key", "key")):
            docker.add_argument(
                f"--tls-{name}", type=_text, metavar="FILE", help=f"PEM text of the {what}"
            )
        docker.add_argument(
            "--network",
            choices=Connection.Network.values,
            help="of each container: the internet only (default), or none at all",
        )
        docker.add_argument(
            "--gpu-device", action="append", metavar="ID",
            help="id or UUID of a GPU, as nvidia-smi -L says; once for each. Without any, a cluster"
            " that is connected already keeps its GPUs",
        )  # fmt: skip
        kubernetes = parser.add_argument_group("Kubernetes")
        kubernetes.add_argument("--namespace", default="", help="where its Pods run")
        kubernetes.add_argument(
            "--kubeconfig", type=_text, metavar="FILE", help="- for standard input"
        )
        kubernetes.add_argument("--server", default="", help="https://host:6443, with --token")
        kubernetes.add_argument("--token", type=_text, metavar="FILE", help="a service account's")
        kubernetes.add_argument("--ca", type=_text, metavar="FILE", help="the server's authority")

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = cluster_named(options["cluster"])
        route = _route(options, Connection.objects.filter(cluster=cluster).first())
        try:
            found = connections.probe(cluster, route)
            self._report(found)
            if found.warnings and not options["yes"]:
                _confirm()
            connections.connect(cluster, actor=ACTOR, route=route)
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"Connected cluster {cluster.name} ({cluster.pk}).")

    def _report(self, found: Probe) -> None:
        has = describe(found.cpu_milli, found.ram_mib, found.gpu)
        self.stdout.write(f"{found.version} with {has}, engine {found.engine_id}.")
        for warning in found.warnings:
            self.stdout.write(self.style.WARNING(f"Warning: {warning}"))


def _route(options: dict[str, Any], known: Connection | None) -> Route:
    """Return the way that was asked for; what was left out stays as it is known."""
    if options["docker"]:
        files = {name: options[f"tls_{name}"] for name in ("ca", "cert", "key")}
        return Route(
            driver=Cluster.Driver.DOCKER,
            endpoint=options["docker"],
            network=options["network"] or (known.network if known else Connection.Network.ISOLATED),
            devices=tuple(options["gpu_device"] or (known.devices if known else ())),
            credentials=_given(files),
        )
    namespace = options["namespace"] or (known.namespace if known else "")
    if not namespace:
        raise CommandError("--kubernetes needs --namespace: where its Pods run.")
    return Route(
        driver=Cluster.Driver.KUBERNETES,
        endpoint=options["server"],
        namespace=namespace,
        credentials=_given({name: options[name] for name in ("kubeconfig", "token", "ca")}),
    )


def _given(files: dict[str, str | None]) -> dict[str, str]:
    return {name: text for name, text in files.items() if text}


def _text(file: str) -> str:
    """Return a file's text, or what standard input says for `-`."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentTypeError(f"{file} cannot be read: {error}") from error
    if not text.strip():
        name = "standard input" if file == "-" else file
        raise ArgumentTypeError(f"{name} is empty")
    return text.strip()


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise CommandError("Nothing has changed: with warnings, --yes is needed.")
    if input("Connect it all the same? [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing has changed.")
