"""Amounts and times as people write them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def amounts(row: dict[str, Any]) -> str:
    """Return CPU, RAM and GPU of a deployment or a cluster in a few words."""
    return f"{row['cpu']:g} CPU, {memory(row['ram_mib'])}, {row['gpu']} GPU"


def memory(mib: int) -> str:
    return f"{mib / 1024:g} GiB" if mib % 256 == 0 and mib >= 1024 else f"{mib} MiB"


def ago(time: str | None) -> str:
    """Return how long ago a time of the API was, such as `3m`; "" for none."""
    if time is None:
        return ""
    # Python before 3.11 does not read a `Z`.
    then = datetime.fromisoformat(time.replace("Z", "+00:00"))
    return duration(int((datetime.now(timezone.utc) - then).total_seconds()))


def duration(seconds: int) -> str:
    """Return a time span in its largest unit, such as `3m`."""
    return next((f"{seconds // size}{unit}" for size, unit in _UNITS if seconds >= size), "0s")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as `2 deployments`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
