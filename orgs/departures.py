"""What somebody leaves behind in an organization, counted by the apps that it belongs to."""

from collections.abc import Callable

Left = dict[str, dict[str, int]]
"""Numbers by status, by what it is: `{"deployments": {"running": 2}}`."""

Count = Callable[[int, int], dict[str, int]]
"""Takes the ids of an organization and a user."""

_counts: dict[str, Count] = {}


def register(name: str, count: Count) -> None:
    """Have these counted whenever somebody leaves an organization."""
    _counts[name] = count


def left_behind(organization_id: int, user_id: int) -> Left:
    """Return what is there of the user's; nothing of which there is none."""
    counted = {name: count(organization_id, user_id) for name, count in _counts.items()}
    return {name: numbers for name, numbers in counted.items() if numbers}


def sentence(left: Left) -> str:
    """Return the counts in words: `deployments (2 pending, 1 running)`."""
    return ", ".join(
        f"{name} ({', '.join(f'{number} {status}' for status, number in numbers.items())})"
        for name, numbers in left.items()
    )
