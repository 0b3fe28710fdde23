"""End all deployments that labels or an array select, those that wait and those that run."""

from __future__ import annotations

from argparse import Namespace

from hypervisor_client.api import JSON
from hypervisor_client.cli.amounts import counted
from hypervisor_client.cli.groups import explain_nothing, report
from hypervisor_client.cli.preview import summary
from hypervisor_client.cli.session import Session

_ROUNDS = 5
_NOT_ENDED = ("pending", "changed")
"""Why a stop skips what has become pending since the cancellation, such as by an eviction."""


def end_all(session: Session, given: Namespace, filters: JSON) -> int:
    """Cancel what waits, then stop what runs; return 1 if one could not be ended.

    In this order, because what waits would start in the place of what is stopped.
    """
    if given.dry_run:
        return _try(session, filters)
    client = session.client
    cancelled: list[int] = []
    stopped: list[int] = []
    for _ in range(_ROUNDS):
        cancel = client.act_on_all("cancel", filters)
        stop = client.act_on_all("stop", filters)
        cancelled += cancel["deployments"]
        stopped += stop["deployments"]
        if not any(each["code"] in _NOT_ENDED for each in stop["skipped"]):
            break
    explain_nothing(session, "stop", filters, cancel, stop)
    answers = {
        "cancel": {**cancel, "deployments": cancelled},
        "stop": {**stop, "deployments": stopped},
    }
    count = counted(len(stopped), "deployment")
    session.show(answers, f"Cancelled {len(cancelled)} and stopped {count}.")
    return report(session, [each for each in stop["skipped"] if each["code"] != "stopping"])


def _try(session: Session, filters: JSON) -> int:
    cancel = session.client.act_on_all("cancel", filters, dry_run=True)
    running = {**filters, "status": ["starting", "running"]}
    stop = session.client.act_on_all("stop", running, dry_run=True)
    explain_nothing(session, "stop", filters, cancel, stop)
    waiting, active = (len(each["deployments"]) + each["remaining"] for each in (cancel, stop))
    what = f"{counted(waiting, 'deployment')} would be cancelled and {active} stopped."
    text = summary(what, _both(cancel, stop))
    if _starts_cancelled(cancel, stop):
        text += "\nOther deployments may start in what this frees."
    session.show({"cancel": cancel, "stop": stop}, text)
    denied = [each for each in cancel["skipped"] if each["code"] == "permission_denied"]
    return report(session, denied)


def _both(cancel: JSON, stop: JSON) -> JSON:
    """Return one preview of both calls.

    In the dry run of the stop, what the cancellation removes still starts: it is left out.
    """
    gone = set(cancel["deployments"])
    first, then = cancel["preview"], stop["preview"]
    later = [row for row in then["consequences"] if row["deployment"] not in gone]
    known = {row["deployment"] for row in later}
    rows = later + [row for row in first["consequences"] if row["deployment"] not in known]
    listed = len(first["consequences"]) + len(then["consequences"])
    dependents = [*first["dependents"], *then["dependents"]]
    preview = {
        "consequences": rows,
        "count": first["count"] + then["count"] - (listed - len(rows)),
        "dependents": [row for row in dependents if row["deployment"] not in gone],
        "anyway": first["anyway"],
        "begins_by": then["begins_by"] or first["begins_by"],
    }
    return {"preview": preview}


def _starts_cancelled(cancel: JSON, stop: JSON) -> bool:
    """Return whether the dry run of the stop starts something that the cancellation removes."""
    gone = set(cancel["deployments"])
    rows = stop["preview"]["consequences"]
    return any(row["kind"] == "starts" and row["deployment"] in gone for row in rows)
