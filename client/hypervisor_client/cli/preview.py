"""What a change would lead to, as its dry run says."""

from __future__ import annotations

from hypervisor_client.api import JSON
from hypervisor_client.cli.amounts import duration

_SHOWN = 20
"""How many consequences are printed; the others are counted."""


def summary(what: str, answer: JSON) -> str:
    """Return a sentence about the object of the change, then what the next cycle would do."""
    preview = answer["preview"]
    rows = preview["consequences"]
    lines = [f"Dry run, nothing is changed: {what}"]
    if rows:
        lines.append(f"The next cycle, by {preview['begins_by'][11:19]} UTC at the latest, would")
    lines += [f"  {_line(row)}" for row in rows[:_SHOWN]]
    if preview["count"] > _SHOWN:
        lines.append(f"  … and {preview['count'] - _SHOWN} more")
    lines += [_dependent(row) for row in preview["dependents"]]
    if preview["anyway"]:
        lines.append(f"Without it, the next cycle changes {preview['anyway']} deployments.")
    if not rows and not preview["dependents"]:
        lines.append("It changes nothing that runs or waits.")
    return "\n".join(lines)


def _line(row: JSON) -> str:
    name = f"{row['name']} ({row['deployment']}, priority {row['priority']})"
    source, target = row["source_name"], row["target_name"]
    lost = "" if row["lost_s"] is None else f", which loses {duration(row['lost_s'])} of work"
    by_kind = {
        "evicted": f"evict {name} from {source}{lost}",
        "withdrawn": f"free what {name} has on {source}" if source else f"not consider {name}",
        "moves": f"move {name} from {source} to {target}{lost}",
        "restarts": f"restart {name} on {target}{lost}",
        "waits": f"let {name} wait: {row['reason']}",
        "stays": f"leave {name} on {target}",
        "starts": f"start {name} on {target}",
    }
    return by_kind.get(row["kind"], f"{row['kind']}: {name}")


def _dependent(row: JSON) -> str:
    then = "is cancelled with it" if row["cancelled"] else "keeps waiting"
    return f"Deployment {row['deployment']} depends on {row['on']}: it {then}."


def done_for_it(result: JSON) -> list[str]:
    """Return a line for each deployment that is evicted or moved for another one."""
    return [
        f"  {verb} {row['name']} ({row['deployment']}), which loses {duration(row['lost_s'])}"
        f" of work: {row['reason']}"
        for verb, rows in (("evicts", result["evictions"]), ("moves", result["moves"]))
        for row in rows
    ]
