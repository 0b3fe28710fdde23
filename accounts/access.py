"""End what gives access as a user, as each app registers it."""

from collections.abc import Callable

from django.db import transaction

from accounts.models import User

End = Callable[[User], object]

_ends: list[End] = []


def register(end: End) -> None:
    """Register what ends when a user is deactivated or gets a new password."""
    _ends.append(end)


@transaction.atomic
def end(user: User) -> None:
    """End the user's sessions and log-ins, and everything that is registered."""
    user.browser_sessions.all().delete()
    user.token_families.all().delete()
    for each in _ends:
        each(user)
