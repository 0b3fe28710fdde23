"""Parse the engine's times, which have nanoseconds."""

import re
from datetime import datetime

_TIME = re.compile(r"(.*?)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:\d\d)\Z")
_NEVER = "0001-01-01"


def parse(text: str) -> datetime | None:
    """Return the time to the microsecond, None for the engine's "never"."""
    match = _TIME.match(text)
    if match is None or text.startswith(_NEVER):
        return None
    seconds, fraction, zone = match.groups("0")
    return datetime.fromisoformat(f"{seconds}.{fraction:0<6}{zone.replace('Z', '+00:00')}")


def timestamp(text: str) -> float:
    """Return the time in seconds since 1970, 0 for "never"."""
    time = parse(text)
    return time.timestamp() if time else 0.0
