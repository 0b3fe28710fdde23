"""Clusters, and who uses them."""

from __future__ import annotations

from argparse import Namespace

from hypervisor_client.api import JSON
from hypervisor_client.cli.amounts import amounts, memory
from hypervisor_client.cli.preview import summary
from hypervisor_client.cli.session import Session, table
from hypervisor_client.errors import ClientError


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
    node = None if given.node is None else session.node_of(cluster, given.node)
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
    """Show what each member has allocated, in each organization of the user."""
    client = session.client
    organizations = list(client.rows("/organizations"))
    answers = [client.usage(organization["id"]) for organization in organizations]
    blocks = [
        _usage(organization["name"], answer) for organization, answer in zip(organizations, answers)
    ]
    session.show(answers, "\n\n".join(blocks) or "You are in no organization yet.")


def _usage(organization: str, answer: JSON) -> str:
    used, capacity = answer["allocated"], answer["capacity"]
    title = f"{organization}: {amounts(used)} of {amounts(capacity)} allocated"
    cells = [
        (
            user["username"] or "(deleted users)", user["active"], user["pending"],
            user["allocated"]["cpu"], memory(user["allocated"]["ram_mib"]),
            user["allocated"]["gpu"],
        )
        for user in answer["users"]
    ]  # fmt: skip
    titles = ("WHO", "ACTIVE", "PENDING", "CPU", "RAM", "GPU")
    return f"{title}\n{table(titles, cells)}" if cells else title
