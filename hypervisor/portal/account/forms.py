"""The forms of the account's pages."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import authenticate, update_session_auth_hash
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts.models import User
from accounts.recovery import may_reset
from accounts.sessions.services import is_recent

MAX_PASSWORD = 1000


def password_field(label: str, autocomplete: str, **options: Any) -> forms.CharField:
    """Return a field for a password, which is taken as it is."""
    widget = forms.PasswordInput(attrs={"autocomplete": autocomplete})
    return forms.CharField(
        label=label, strip=False, max_length=MAX_PASSWORD, widget=widget, **options
    )


class SignInForm(AuthenticationForm):
    """A username or a verified address, and a password."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "The username or password is wrong.",
        "inactive": "The username or password is wrong.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "Username or e-mail address"


class NewPasswordMixin(forms.Form):
    """A new password, twice, which is checked for the form's user."""

    def user_of_password(self) -> User:
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        password, again = given.get("password"), given.get("password_again")
        if password and again and password != again:
            self.add_error("password_again", "The two passwords differ.")
        elif password:
            try:
                validate_password(password, self.user_of_password())
            except ValidationError as error:
                self.add_error("password", error)
        return given


class RegistrationForm(NewPasswordMixin):
    username = forms.CharField(
        max_length=150,
        validators=[User.username_validator],
        help_text=User._meta.get_field("username").help_text,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    email = forms.EmailField(
        label="E-mail address",
        required=False,
        max_length=254,
        help_text="For a forgotten password. Confirm it with the link that is mailed to you.",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    password = password_field("Password", "new-password")
    password_again = password_field("Password again", "new-password")
    invite_code = forms.CharField(
        max_length=100,
        required=False,
        help_text="Makes you a member of the organization that gave you the code.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["invite_code"].required = settings.REGISTRATION == "invite"

    def user_of_password(self) -> User:
        given = self.cleaned_data
        return User(username=given.get("username", ""), email=given.get("email", ""))


class ConfirmedForm(forms.Form):
    """A form that needs the person's password; wrong ones count towards a lock-out."""

    current_password = password_field("Your present password", "current-password")

    request: HttpRequest

    def __init__(self, *args: Any, request: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        if not may_reset(request.user):
            del self.fields["current_password"]

    def clean(self) -> dict[str, Any]:
        """Require a recent sign-in of a person who has no password to confirm it with."""
        given = super().clean() or {}
        if "current_password" not in self.fields and not is_recent(self.request.session):
            self.add_error(None, "Sign out, sign in again, and repeat this within ten minutes.")
        return given

    def clean_current_password(self) -> str:
        password: str = self.cleaned_data["current_password"]
        user = self.request.user
        name = user.get_username()
        known = authenticate(self.request, username=name, password=password)
        if known is None or known != user:
            raise ValidationError("This is not your password.", code="wrong_password")
        # A hash that was renewed on the occasion does not end the session.
        update_session_auth_hash(self.request, known)
        return password


class ResetForm(NewPasswordMixin):
    """A new password of a user who has opened a mailed link."""

    password = password_field("New password", "new-password")
    password_again = password_field("New password again", "new-password")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def user_of_password(self) -> User:
        return self.user


class PasswordForm(ConfirmedForm, NewPasswordMixin):
    password = password_field("New password", "new-password")
    password_again = password_field("New password again", "new-password")
    field_order = ("current_password", "password", "password_again")

    def user_of_password(self) -> User:
        assert isinstance(self.request.user, User)  # noqa: S101 the page needs a sign-in
        return self.request.user


class ForgottenForm(forms.Form):
    email = forms.EmailField(
        label="E-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )


class AddressForm(ConfirmedForm):
    email = forms.EmailField(
        label="New e-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    field_order = ("email", "current_password")
