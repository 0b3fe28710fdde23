"""Lists of deployments."""

from __future__ import annotations

from argparse import Namespace

from hypervisor_client.api import JSON
from hypervisor_client.cli.amounts import ago, amounts
from hypervisor_client.cli.selection import no_match
from hypervisor_client.cli.session import Session, table

_LIVE = ("pending", "starting", "running", "stopping")


def ps(session: Session, given: Namespace) -> None:
    filters = {
        "status": given.status or (None if given.all else list(_LIVE)),
        "created_by": "me" if given.mine else None,
        "name": given.name,
        "label": given.label,
        "array": given.array,
        "ordering": "-created_at",
    }
    wanted = {name: value for name, value in filters.items() if value is not None}
    rows = list(session.client.deployments(limit=given.limit, **wanted))
    names = {c["id"]: c["name"] for c in session.client.clusters()} if rows else {}
    cells = [
        (
            d["id"], d["name"], d["status"], d["priority"], amounts(d),
            names.get(d["cluster"], "-"), ago(d["created_at"]),
        )
        for d in rows
    ]  # fmt: skip
    titles = ("ID", "NAME", "STATUS", "PRIORITY", "REQUEST", "CLUSTER", "AGE")
    nothing = "" if rows else no_match(session.client, filters) or "Nothing to list"
    session.show(rows, f"{nothing}." if nothing else table(titles, cells))


def queue(session: Session, given: Namespace) -> None:
    rows = list(session.client.deployments(status="pending", ordering="-priority"))
    rows.sort(key=lambda d: (-d["priority"], d["queued_at"], d["id"]))
    more = f"\n… and {len(rows) - given.limit} more" if len(rows) > given.limit else ""
    rows = rows[: given.limit]
    titles = ("ID", "NAME", "PRIORITY", "REQUEST", "WAITS", "WHY")
    text = table(titles, [_waiting(d) for d in rows]) + more if rows else "Nothing waits."
    session.show(rows, text)


def _waiting(d: JSON) -> tuple[object, ...]:
    return d["id"], d["name"], d["priority"], amounts(d), ago(d["queued_at"]), d["status_code"]
