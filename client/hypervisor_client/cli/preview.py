"""What a change would lead to, as its dry run says."""

from __future__ import annotations

from collections import Counter

from hypervisor_client.api import JSON
from hypervisor_client.cli.amounts import counted, duration

_SHOWN = 10
"""How many consequences are printed; the others are counted."""

_VERBS = {
    "evicted": "evict", "withdrawn": "leave out", "moves": "move", "restarts": "restart",
    "waits": "let wait", "stays": "keep", "starts": "start",
}  # fmt: skip


def summary(what: str, answer: JSON) -> str:
    """Return a sentence about the object of the change, then what the next cycle would do."""
    preview = answer["preview"]
    rows, dependents = preview["consequences"], preview["dependents"]
    lines = [f"Dry run, nothing is changed: {what}"]
    if rows:
        lines.append(f"The next cycle, by {preview['begins_by'][11:19]} UTC at the latest, would:")
    lines += [f"  {_line(row)}" for row in rows[:_SHOWN]]
    if preview["count"] > _SHOWN:
        lines.append(f"  … and {_more(rows[_SHOWN:], preview['count'] - _SHOWN)}")
    lines += [_dependent(row) for row in dependents[:_SHOWN]]
    if len(dependents) > _SHOWN:
        lines.append(f"… and {len(dependents) - _SHOWN} more that depend on them.")
    if preview["anyway"]:
        anyway = counted(preview["anyway"], "deployment")
        lines.append(f"Without it, the next cycle changes {anyway}.")
    if not rows and not dependents:
        lines.append("It changes nothing that runs or waits.")
    return "\n".join(lines)


def _more(rows: list[JSON], count: int) -> str:
    """Return how many more there are, and of what kinds those are that the service lists."""
    kinds = Counter(_VERBS.get(row["kind"], row["kind"]) for row in rows)
    return f"{count} more: " + ", ".join(f"{verb} {number}" for verb, number in kinds.items())


def _line(row: JSON) -> str:
    name = f"{row['name']} ({row['deployment']}, priority {row['priority']})"
    source, target = row["source_name"], row["target_name"]
    lost = "" if row["lost_s"] is None else f", which loses {duration(row['lost_s'])} of work"
    by_kind = {
        "evicted": f"evict {name} from {source}{lost}",
        "withdrawn": f"free what {name} has on {source}" if source else f"leave out {name}",
        "moves": f"move {name} from {source} to {target}{lost}",
        "restarts": f"restart {name} on {target}{lost}",
        "waits": f"let {name} wait: {row['reason']}",
        "stays": f"keep {name} on {target}",
        "starts": f"start {name} on {target}",
    }
    return by_kind.get(row["kind"], f"{row['kind']}: {name}")


def _dependent(row: JSON) -> str:
    then = "is cancelled with it" if row["cancelled"] else "keeps waiting"
    return f"Deployment {row['deployment']}, which depends on {row['on']}, {then}."


def done_for_it(result: JSON) -> list[str]:
    """Return a line for each of the first deployments that are evicted or moved for another one."""
    lines = [
        f"  {verb} {row['name']} ({row['deployment']}), which loses {duration(row['lost_s'])}"
        f" of work: {row['reason']}"
        for verb, rows in (("evicts", result["evictions"]), ("moves", result["moves"]))
        for row in rows
    ]
    array = result.get("array")  # Its evictions and moves are counted, but not all listed.
    more = (array["evicted"] + array["moved"] if array else len(lines)) - _SHOWN
    return lines[:_SHOWN] + ([f"  … and {more} more"] if more > 0 else [])
