"""The REST representations of users, organizations and members."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as PasswordRefused
from django.utils import timezone
from rest_framework import serializers

from accounts.models import User
from hypervisor.base.names import TextSerializerField
from hypervisor.rest.schemas import example
from hypervisor.rest.serializers import (
    ChoiceField,
    IdField,
    IntegerField,
    StrictModelSerializer,
    StrictSerializer,
)
from orgs.models import Membership, Organization, Role
from orgs.tokens.serializers import API_TOKEN, ApiTokenSerializer

_ALICE = {"id": 1, "username": "alice"}
_ORGANIZATION = {"id": 1, "name": "Analytical Engines"}
_MEMBERSHIP = {"organization": _ORGANIZATION, "role": "owner"}
_USER = {**_ALICE, "email": "alice@example.org", "memberships": [_MEMBERSHIP]}
_CODE = "2u6WnJ0zqG3xQd8kV5sYtA"
_INVITE = {
    "invite_code": _CODE,
    "invite_expires_at": "2026-01-12T09:00:00Z",
    "invite_max_uses": 1,
    "invite_uses": 0,
}
"""Parts of the examples in the OpenAPI document."""


class OrganizationField(IdField):
    """The organization that a row belongs to, by its id, as `organization_id`.

    `permissions.organization_for` resolves a POST without it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            source="organization_id",
            required=False,
            help_text="An organization's id. A POST needs it only if the caller is a member of"
            " several organizations.",
            **kwargs,
        )


class OrganizationReferenceSerializer(serializers.ModelSerializer[Organization]):
    class Meta:
        model = Organization
        fields = ["id", "name"]


@example(answer=_MEMBERSHIP)
class MembershipSerializer(serializers.ModelSerializer[Membership]):
    """A membership as the member sees it: the organization and the role in it."""

    organization = OrganizationReferenceSerializer(read_only=True)

    class Meta:
        model = Membership
        fields = ["organization", "role"]


class UsernameField(serializers.CharField):
    """The name of a user in an answer; that of a service account has other characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            read_only=True,
            help_text="The user's name; `service:NAME@ORGANIZATION` for a service account.",
            **options,
        )


@example(answer=_USER)
class UserSerializer(serializers.ModelSerializer[User]):
    username = UsernameField()
    memberships = MembershipSerializer(many=True, read_only=True)

    class Meta:
        model = User
        fields = ["id", "username", "email", "memberships"]


@example(answer={**_USER, "token": API_TOKEN})
class CallerSerializer(UserSerializer):
    """The caller, with the API token of the call, if there is one.

    For a caller with such a token, the memberships are those that it is for, with the roles that it
    leaves.
    """

    token = ApiTokenSerializer(read_only=True, allow_null=True)

    class Meta(UserSerializer.Meta):
        fields = [*UserSerializer.Meta.fields, "token"]


@example(body={"username": "ada", "password": "correct horse 9", "email": "ada@example.org"})
class RegistrationSerializer(StrictModelSerializer[User]):
    """A new user, who also joins an organization if there is an invite code."""

    password = TextSerializerField(
        write_only=True,
        max_length=1000,
        trim_whitespace=False,
        style={"input_type": "password"},
    )
    email = serializers.EmailField(required=False, allow_blank=True, max_length=254)
    invite_code = TextSerializerField(required=False, allow_null=True, default=None, max_length=100)

    class Meta:
        model = User
        fields = ["username", "password", "email", "invite_code"]
        extra_kwargs = {"username": {"validators": [User.username_validator], "max_length": 150}}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("email", "")
        try:
            validate_password(
                attrs["password"], User(username=attrs["username"], email=attrs["email"])
            )
        except PasswordRefused as error:
            raise serializers.ValidationError({"password": error.messages}) from error
        return attrs


@example(body={"invite_code": _CODE})
class JoinSerializer(StrictSerializer):
    """The invite code of an organization."""

    invite_code = TextSerializerField(max_length=100)


@example(body={"expires_in_s": 604800, "max_uses": 1})
class InviteTermsSerializer(StrictSerializer):
    """How long a new invite code works and for how many people; unlimited if not given."""

    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    expires_in_s = IntegerField(
        required=False, allow_null=True, min_value=1, max_value=10 * 366 * 86400, write_only=True
    )
    max_uses = IntegerField(
        required=False, allow_null=True, default=None, min_value=1, max_value=1_000_000
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        now, seconds = timezone.now(), attrs.pop("expires_in_s", None)
        if seconds is not None:
            if attrs["expires_at"] is not None:
                raise serializers.ValidationError(
                    {"expires_in_s": "Give either `expires_at` or `expires_in_s`, not both."}
                )
            attrs["expires_at"] = now + timedelta(seconds=seconds)
        if attrs["expires_at"] is not None and attrs["expires_at"] <= now:
            raise serializers.ValidationError({"expires_at": "Give a time in the future."})
        return attrs


INVITE_FIELDS = ("invite_code", "invite_expires_at", "invite_max_uses", "invite_uses")


@example(answer=_INVITE)
class InviteSerializer(serializers.ModelSerializer[Organization]):
    class Meta:
        model = Organization
        fields = INVITE_FIELDS


@example(
    body={"name": "Analytical Engines"},
    answer={
        **_ORGANIZATION,
        "role": "owner",
        "member_count": 2,
        "created_at": "2026-01-05T09:00:00Z",
        **_INVITE,
    },
)
class OrganizationSerializer(StrictModelSerializer[Organization]):
    """An organization as the caller, who is a member, sees it."""

    # Needs rows of as_seen_by().

    role = ChoiceField(choices=Role.choices, read_only=True)
    member_count = serializers.IntegerField(read_only=True)
    invite_code = serializers.CharField(read_only=True, allow_null=True)
    invite_uses = serializers.IntegerField(read_only=True, allow_null=True)

    class Meta:
        model = Organization
        fields = ["id", "name", "role", "member_count", "created_at", *INVITE_FIELDS]
        read_only_fields = ["id", "created_at", "invite_expires_at", "invite_max_uses"]

    def to_representation(self, organization: Organization) -> dict[str, Any]:
        """Show the invite code and its terms only to admins and owners."""
        shown = super().to_representation(organization)
        trusted = Role(organization.role).rank >= Role.ADMIN.rank
        return shown if trusted else shown | dict.fromkeys(INVITE_FIELDS)


class UserReferenceSerializer(serializers.ModelSerializer[User]):
    username = UsernameField()

    class Meta:
        model = User
        fields = ["id", "username"]


@example(
    change={"role": "admin"},
    answer={
        "user": _ALICE,
        "role": "owner",
        "service_account": None,
        "joined_at": "2026-01-05T09:00:00Z",
    },
)
class MemberSerializer(StrictModelSerializer[Membership]):
    """A member of an organization with the role in it."""

    user = UserReferenceSerializer(read_only=True)
    role = ChoiceField(choices=Role.choices)
    service_account = serializers.IntegerField(
        source="user.service_account.pk",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="The id of the service account that the member is; null for a person.",
    )

    class Meta:
        model = Membership
        fields = ["user", "role", "service_account", "joined_at"]
        read_only_fields = ["joined_at"]


@example(answer={"left": {"deployments": {"pending": 2, "running": 1}}})
class DepartureSerializer(serializers.Serializer[Any]):
    """The rows that a former member leaves behind, counted by status."""

    left = serializers.DictField(child=serializers.DictField(child=serializers.IntegerField()))
