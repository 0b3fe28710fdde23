"""How people, organizations and members look from outside."""

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as PasswordRefused
from rest_framework import serializers

from accounts.api import StrictModelSerializer, StrictSerializer
from accounts.models import User
from orgs.models import Membership, Organization, Role


class OrganizationReferenceSerializer(serializers.ModelSerializer[Organization]):
    class Meta:
        model = Organization
        fields = ["id", "name"]


class MembershipSerializer(serializers.ModelSerializer[Membership]):
    """Where somebody belongs, and as what."""

    organization = OrganizationReferenceSerializer(read_only=True)

    class Meta:
        model = Membership
        fields = ["organization", "role"]


class PersonSerializer(serializers.ModelSerializer[User]):
    memberships = MembershipSerializer(many=True, read_only=True)

    class Meta:
        model = User
        fields = ["id", "username", "email", "memberships"]


class RegistrationSerializer(StrictModelSerializer[User]):
    password = serializers.CharField(
        write_only=True,
        max_length=1000,
        trim_whitespace=False,
        style={"input_type": "password"},
    )
    email = serializers.EmailField(required=False, allow_blank=True, default="", max_length=254)
    invite_code = serializers.CharField(required=False, allow_null=True, default=None)

    class Meta:
        model = User
        fields = ["username", "password", "email", "invite_code"]
        extra_kwargs = {"username": {"validators": [User.username_validator], "max_length": 150}}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            validate_password(
                attrs["password"], User(username=attrs["username"], email=attrs["email"])
            )
        except PasswordRefused as error:
            raise serializers.ValidationError({"password": error.messages}) from error
        return attrs


class InviteSerializer(StrictSerializer):
    invite_code = serializers.CharField(max_length=100)


class OrganizationSerializer(StrictModelSerializer[Organization]):
    """An organization as one member sees it."""

    # Needs a row of as_seen_by().

    role = serializers.ChoiceField(choices=Role.choices, read_only=True)
    member_count = serializers.IntegerField(read_only=True)
    invite_code = serializers.SerializerMethodField()

    class Meta:
        model = Organization
        fields = ["id", "name", "role", "member_count", "created_at", "invite_code"]
        read_only_fields = ["id", "created_at"]

    def get_invite_code(self, organization: Organization) -> str | None:
        """Admins and owners see it."""
        trusted = Role(organization.role).rank >= Role.ADMIN.rank
        return organization.invite_code if trusted else None


class UserReferenceSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ["id", "username"]


class MemberSerializer(StrictModelSerializer[Membership]):
    user = UserReferenceSerializer(read_only=True)
    role = serializers.ChoiceField(choices=Role.choices)

    class Meta:
        model = Membership
        fields = ["user", "role", "joined_at"]
        read_only_fields = ["joined_at"]
