"""Change, or wait for, all deployments that labels or an array select."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from typing import Any

from hypervisor_client.api import JSON
from hypervisor_client.cli.session import Session, table
from hypervisor_client.errors import ClientError

_SHOWN = 10
"""How many skipped deployments are listed."""


def selected(given: Namespace) -> JSON:
    """Return the filters that the options give, {} if they give none.

    Raises ClientError if both deployments and filters are given, or neither.
    """
    filters = {"label": given.label, "array": given.array}
    wanted = {name: value for name, value in filters.items() if value is not None}
    if bool(wanted) == bool(getattr(given, "deployments", None)):
        raise ClientError("Name deployments, or select them with --label or --array.")
    return wanted


def change(session: Session, given: Namespace, verb: str, filters: JSON, **body: Any) -> int:
    """Carry out the verb on all that the filters select; return 1 if one could not be changed."""
    result = session.client.act_on_all(verb, filters, body=body or None, dry_run=given.dry_run)
    count = len(result["deployments"])
    would = "Would change" if given.dry_run else "Changed"
    session.show(result, f"{would} {count} deployment{'' if count == 1 else 's'}.")
    refused = [each for each in result["skipped"] if each["code"] != "unchanged"]
    for each in refused[:_SHOWN]:
        session.note(f"hv: {each['deployment']}: {each['reason']}")
    if len(refused) > _SHOWN:
        counts = Counter(each["code"] for each in refused).most_common()
        kinds = ", ".join(f"{number} {code}" for code, number in counts)
        session.note(f"hv: {len(refused)} could not be changed: {kinds}")
    return 1 if refused else 0


def retry(session: Session, given: Namespace) -> int:
    return change(session, given, "start", {**selected(given), "status": "failed"})


def wait(session: Session, filters: JSON, timeout_s: float | None) -> int:
    """Wait until all that the filters select have ended; return the worst exit code."""
    client = session.client
    try:
        client.wait_for_all(filters, timeout_s=timeout_s)
    except TimeoutError as error:
        raise ClientError(str(error)) from error
    if next(client.deployments(limit=1, **filters), None) is None:
        raise ClientError("You can see no such deployment: hv ps --all")
    ended = list(client.deployments(status=["failed", "stopped", "cancelled"], **filters))
    counts = Counter(each["status"] for each in ended)
    kinds = ", ".join(f"{number} {status}" for status, number in counts.most_common())
    session.note(f"hv: all have ended{': ' + kinds if kinds else ''}")
    return max((code_of(each) for each in ended), default=0)


NO_CODE = 125
"""The exit code for a deployment whose container gave none."""


def code_of(ended: JSON) -> int:
    """Return the exit code for a deployment that has ended."""
    if ended["status"] == "completed":
        return 0
    return ended["exit_code"] or NO_CODE if ended["status"] == "failed" else NO_CODE


def arrays(session: Session, given: Namespace) -> None:
    rows = list(session.client.arrays(limit=given.limit))
    shown = ("pending", "running", "completed", "failed")
    cells = []
    for row in rows:
        counts = [row["counts"][status] for status in shown]
        other = sum(row["counts"].values()) - sum(counts)
        cells.append((row["id"], row["name"], row["size"], row["at_once"], *counts, other))
    titles = ("ID", "NAME", "SIZE", "AT ONCE", *map(str.upper, shown), "OTHER")
    session.show(rows, table(titles, cells) if rows else "Nothing to list.")
