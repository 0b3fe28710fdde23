"""Rules for passwords beyond Django's own."""

from typing import Any

from django.contrib.auth.password_validation import MinimumLengthValidator

from accounts import access
from hypervisor.base.names import is_visible


class EndOfAccess:
    """No rule, but what a new password causes, however it is set: all access ends.

    Django calls it when a user with a new password is saved, but not when the hash of the same
    password is renewed.
    """

    def validate(self, password: str, user: Any = None) -> None:
        """Accept every password."""

    def password_changed(self, password: str, user: Any = None) -> None:
        access.end(user)

    def get_help_text(self) -> str:
        return "A new password ends all sessions and log-ins, and revokes the API tokens."


class VisibleLengthValidator(MinimumLengthValidator):
    """Requires a minimum length; blanks and invisible characters do not count."""

    def validate(self, password: str, user: Any = None) -> None:
        visible = "".join(c for c in password if is_visible(c) and not c.isspace())
        super().validate(visible, user)

    def get_error_message(self) -> str:
        return (
            f"This password is too short: it needs at least {self.min_length} characters other than"
            " blanks."
        )

    def get_help_text(self) -> str:
        return f"Your password needs at least {self.min_length} characters other than blanks."
