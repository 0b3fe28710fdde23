"""Count the rows that a departing member leaves in an organization, as each app registers it."""

from collections.abc import Callable

Left = dict[str, dict[str, int]]
"""Counts by name, then by status: `{"deployments": {"running": 2}}`."""

Count = Callable[[int, int], dict[str, int]]
"""Takes the ids of an organization and a user, and returns counts by status."""

_counts: dict[str, Count] = {}


def register(name: str, count: Count) -> None:
    """Register a count to be made when a member leaves an organization."""
    _counts[name] = count


def left_behind(organization_id: int, user_id: int) -> Left:
    """Return the counts of the user's rows in the organization, without those that are zero."""
    counted = {name: count(organization_id, user_id) for name, count in _counts.items()}
    return {name: numbers for name, numbers in counted.items() if numbers}


def sentence(left: Left) -> str:
    """Return the counts as text: `deployments (2 pending, 1 running)`."""
    return ", ".join(
        f"{name} ({', '.join(f'{number} {status}' for status, number in numbers.items())})"
        for name, numbers in left.items()
    )
