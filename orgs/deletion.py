"""What other apps do before an organization is deleted. They register it when they start."""

from collections.abc import Callable

from orgs.models import Organization

Check = Callable[[Organization], None]
"""Locks the rows that go with the organization; raises Conflict while it must not be deleted."""

_checks: list[Check] = []


def register(check: Check) -> None:
    """Call the check in each deletion, after those that are registered already."""
    _checks.append(check)


def prepare(organization: Organization) -> None:
    """Lock everything that is deleted with the organization, in the order of the apps.

    Raises Conflict while something there must not be deleted.
    """
    for check in _checks:
        check(organization)
