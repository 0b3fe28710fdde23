"""Change, or wait for, all deployments that labels or an array select."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from typing import Any

from hypervisor_client.api import JSON
from hypervisor_client.cli.amounts import counted
from hypervisor_client.cli.preview import summary
from hypervisor_client.cli.selection import check_match, existing, selected
from hypervisor_client.cli.session import Session, table
from hypervisor_client.errors import ClientError

_SHOWN = 10
"""How many skipped deployments are listed."""

_DONE = {
    "cancel": "be cancelled", "hold": "be put on hold", "release": "be released",
    "start": "be queued again", "stop": "be stopped",
}  # fmt: skip


def change(session: Session, given: Namespace, filters: JSON, verb: str = "", **body: Any) -> int:
    """Change all that the filters select; return 1 if one could not be changed.

    The verb is that of the command, unless another one is given.
    """
    verb = verb or given.command
    result = session.client.act_on_all(verb, filters, body=body or None, dry_run=given.dry_run)
    explain_nothing(session, verb, filters, result)
    text = f"Changed {counted(len(result['deployments']), 'deployment')}."
    if given.dry_run:
        text = summary(would(result, verb, **body), result)
    session.show(result, text)
    return report(session, refused_of(result))


def would(result: JSON, verb: str, *, priority: int | None = None) -> str:
    """Return a sentence about how many deployments a dry run would change, in all its batches."""
    shown, remaining = len(result["deployments"]), result["remaining"]
    done = _DONE[verb] if priority is None else f"have priority {priority}"
    text = f"{counted(shown + remaining, 'deployment')} would {done}."
    return f"{text} What follows is about the first {shown} of them." if remaining else text


def explain_nothing(session: Session, verb: str, filters: JSON, *answers: JSON) -> None:
    """Print why the answers are about no deployment. Raises NotOne if nothing is selected."""
    if any(each["deployments"] or each["skipped"] for each in answers):
        return
    check_match(session.client, filters)
    if "status" in filters:
        session.note("hv: None of the selected deployments has failed.")
    elif verb == "start":
        session.note("hv: None of the selected deployments has ended.")
    else:
        session.note("hv: All selected deployments have ended.")


def refused_of(result: JSON) -> list[JSON]:
    """Return what could not be changed; what is as requested already is no failure."""
    return [each for each in result["skipped"] if each["code"] != "unchanged"]


def report(session: Session, refused: list[JSON]) -> int:
    """Print why some could not be changed; return the exit code."""
    for each in refused[:_SHOWN]:
        session.note(f"hv: {each['deployment']}: {each['reason']}")
    if len(refused) > _SHOWN:
        counts = Counter(each["code"] for each in refused).most_common()
        kinds = ", ".join(f"{number} {code}" for code, number in counts)
        session.note(f"hv: {len(refused)} could not be changed: {kinds}")
    return 1 if refused else 0


def retry(session: Session, given: Namespace) -> int:
    return change(session, given, {**selected(given), "status": "failed"}, "start")


def wait(session: Session, filters: JSON, timeout_s: float | None) -> int:
    """Wait until all that the filters select have ended; return the worst exit code."""
    client = session.client
    check_match(client, filters)
    try:
        client.wait_for_all(filters, timeout_s=timeout_s)
    except TimeoutError as error:
        raise ClientError(str(error)) from error
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


def limit(session: Session, given: Namespace) -> None:
    """Change how many elements of an array may be active at once."""
    with existing(given.array):
        changed = session.client.limit(given.array, given.at_once, dry_run=given.dry_run)
    array = f"Array {changed['id']} ({changed['name']})"
    number = "any number of" if changed["at_once"] is None else f"at most {changed['at_once']}"
    text = f"{array} runs {number} elements at once."
    if given.dry_run:
        text = summary(f"{array} would run {number} elements at once.", changed)
    session.show(changed, text)
