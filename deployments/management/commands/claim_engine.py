"""`manage.py claim_engine CLUSTER`: make the engine belong to this installation."""

import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from clusters import engines
from clusters.drivers.base import Observation, Phase
from clusters.engines import Engine
from clusters.management.naming import ACTOR, cluster_named
from deployments.runtime import claims
from deployments.runtime.claims import Inventory
from deployments.runtime.models import Run
from hypervisor.base import commands
from hypervisor.base.errors import DomainError


class Command(commands.Command):
    help = (
        "After a restore: show the containers on a cluster's engine, make the engine belong to this"
        " installation, and remove containers that are unknown to this database. Any other copy of"
        " this installation stops using the engine."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cluster", metavar="CLUSTER", help="its name or its id")
        parser.add_argument(
            "--node", metavar="NAME", help="the node whose engine it is, if each has its own"
        )
        ask = parser.add_mutually_exclusive_group()
        ask.add_argument("--yes", action="store_true", help="do not ask")
        ask.add_argument(
            "--json", action="store_true", help="print the containers as JSON and change nothing"
        )
        parser.add_argument(
            "--keep-unknown",
            action="store_true",
            help="keep unknown containers: nothing starts on the cluster until they are gone",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = cluster_named(options["cluster"])
        try:
            engine = engines.named(cluster, options["node"])
            found = claims.inventory(engine)
            if options["json"]:
                self.write_json(_document(engine, found))
                return
            self._show(engine, found, keeps=options["keep_unknown"])
            if not options["yes"]:
                _confirm()
            remove = [] if options["keep_unknown"] else [o.uid for o in found.unknown]
            left = claims.claim(engine, actor=ACTOR, remove=remove)
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(
            f"The engine of {engine.where} ({cluster.pk}) belongs to this installation now."
        )
        if left:
            self.stdout.write(
                f"{len(left)} containers are still stopping: the worker will remove them."
            )
        if options["keep_unknown"] and found.unknown:
            self.stdout.write(
                self.style.WARNING(
                    f"{len(found.unknown)} unknown containers were kept: nothing starts on"
                    f" {engine.where} until they are gone."
                )
            )

    def _show(self, engine: Engine, found: Inventory, *, keeps: bool) -> None:
        state = found.objection or "The engine already belongs to this installation."
        self.stdout.write(f"{engine.where} ({engine.cluster.pk}): {state}")
        self._list("of deployments, which continue", (_known(*pair) for pair in found.known))
        self._list("of ended runs, to be removed", map(_about, found.orphans))
        decision = "to be kept" if keeps else "to be removed"
        self._list(f"unknown to this database, {decision}", map(_about, found.unknown))

    def _list(self, what: str, lines: Iterable[str]) -> None:
        listed = list(lines)
        self.stdout.write(f"Containers {what}: {len(listed)}")
        for line in listed:
            self.stdout.write(f"  {line}")


def _document(engine: Engine, found: Inventory) -> dict[str, Any]:
    known = [_container(o) | {"run": r.pk, "deployment": r.deployment_id} for r, o in found.known]
    return {
        "cluster": engine.cluster.pk,
        "node": engine.node.name if engine.node else None,
        "claimed": not found.objection,
        "objection": found.objection,
        "known": known,
        "ended": [_container(seen) for seen in found.orphans],
        "unknown": [_container(seen) for seen in found.unknown],
    }


def _container(seen: Observation) -> dict[str, Any]:
    return {
        "uid": str(seen.uid),
        "name": seen.name,
        "image": seen.image,
        "command": list(seen.command),
        "phase": seen.phase,
    }


def _known(run: Run, seen: Observation) -> str:
    return f"{_about(seen)}, deployment {run.deployment_id} ({run.deployment.name})"


def _about(seen: Observation) -> str:
    state = "ended" if seen.phase is Phase.EXITED else "running"
    command = " ".join(seen.command)
    what = f"{seen.image} {command}".strip() or "image unknown"
    return f"{seen.name or seen.uid}: {what}, {state}"


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise CommandError("Nothing has changed: confirm with --yes.")
    if input("Claim the engine and do this? [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing has changed.")
