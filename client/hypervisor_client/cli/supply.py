"""Clusters, and who uses them."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter, defaultdict

from hypervisor_client.api import Client
from hypervisor_client.cli.amounts import amounts, memory
from hypervisor_client.cli.preview import summary
from hypervisor_client.cli.session import Session, table
from hypervisor_client.errors import ClientError

_AMOUNTS = ("cpu", "ram_mib", "gpu")
_ACTIVE = ["starting", "running", "stopping"]


def clusters(session: Session, given: Namespace) -> None:
    rows = list(session.client.clusters())
    cells = [
        (c["id"], c["name"], c["state"], c["nodes"], amounts(c), amounts(c["available"]),
         amounts(c["largest_free"]))
        for c in rows
    ]  # fmt: skip
    titles = ("ID", "NAME", "STATE", "NODES", "CAPACITY", "FREE", "MOST FREE ON A NODE")
    session.show(rows, table(titles, cells) if rows else "There is no cluster yet.")


def change(session: Session, given: Namespace) -> None:
    """Cordon, uncordon, drain or resize a cluster or one of its nodes."""
    client, dry_run = session.client, given.dry_run
    cluster = session.cluster_of(given.cluster)
    node = given.node and session.node_of(cluster, given.node)
    if given.command == "resize":
        wanted = {"cpu": given.cpu, "ram_mib": given.ram, "gpu": given.gpu}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        if not wanted:
            raise ClientError("Say what to change: --cpu, --ram or --gpu.")
        changed = client.resize(cluster, node=node, dry_run=dry_run, **wanted)
        has, would_have = f"has {amounts(changed)}", f"would have {amounts(changed)}"
    else:
        changed = client.steer(cluster, given.command, node=node, dry_run=dry_run)
        has, would_have = f"is {changed['state']}", f"would be {changed['state']}"
    name = changed["name"]
    text = summary(f"{name} {would_have}.", changed) if dry_run else f"{name} {has}."
    session.show(changed, text)


def usage(session: Session, given: Namespace) -> None:
    """Show what the active deployments of each member request, the most GPUs first."""
    client = session.client
    people: dict[int | None, Counter[str]] = defaultdict(Counter)
    for d in client.deployments(status=_ACTIVE):
        people[d["created_by"]].update({"deployments": 1, **{name: d[name] for name in _AMOUNTS}})
    ordered = sorted(people.items(), key=lambda each: (-each[1]["gpu"], -each[1]["cpu"]))
    names = _members(client) if people else {}
    rows = [
        {
            "user": user,
            "username": names.get(user),
            **{n: sums[n] for n in ("deployments", *_AMOUNTS)},
        }
        for user, sums in ordered
    ]
    cells = [
        (names.get(user, f"user {user}"), sums["deployments"], sums["cpu"],
         memory(sums["ram_mib"]), sums["gpu"])
        for user, sums in ordered
    ]  # fmt: skip
    titles = ("WHO", "DEPLOYMENTS", "CPU", "RAM", "GPU")
    session.show(rows, table(titles, cells) if rows else "Nothing runs.")


def _members(client: Client) -> dict[int | None, str]:
    return {
        m["user"]["id"]: m["user"]["username"]
        for organization in client.rows("/organizations")
        for m in client.rows(f"/organizations/{organization['id']}/members")
    }
