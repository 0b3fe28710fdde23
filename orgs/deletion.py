"""Checks that other apps register, to be made before an organization is deleted."""

from collections.abc import Callable

from orgs.models import Organization

Check = Callable[[Organization], None]
"""Locks the rows deleted with the organization; raises Conflict if it must not be deleted."""

_checks: list[Check] = []


def register(check: Check) -> None:
    """Register a check that each deletion makes after those registered before."""
    _checks.append(check)


def prepare(organization: Organization) -> None:
    """Lock everything that is deleted with the organization, in the order of the apps.

    Raises Conflict while a row must not be deleted.
    """
    for check in _checks:
        check(organization)
