from typing import Any

from rest_framework import serializers

from hypervisor.base.names import PatternSerializerField
from hypervisor.rest.schemas import example
from hypervisor.rest.serializers import ChoiceField, StrictModelSerializer
from orgs.models import Role, ServiceAccount
from orgs.service_accounts.services import NAME


@example(
    body={"name": "nightly", "role": "developer"},
    answer={
        "id": 1,
        "organization": 1,
        "user": 5,
        "name": "nightly",
        "username": "service:nightly@1",
        "role": "developer",
        "created_by": "alice",
        "created_at": "2026-01-05T09:00:00Z",
    },
)
class ServiceAccountSerializer(StrictModelSerializer[ServiceAccount]):
    """A program that is a member of the organization."""

    # Needs rows of with_role().

    name = PatternSerializerField(
        rf"\A{NAME.pattern}\Z",
        max_length=100,
        error_messages={
            "invalid": "Give lower-case letters and digits, with single dots, hyphens or"
            " underscores between them."
        },
        help_text="Lower-case letters and digits, with single dots, hyphens or underscores between"
        " them; unique within the organization.",
    )
    username = serializers.CharField(
        source="user.username",
        read_only=True,
        help_text="The name under which it submits deployments and appears in events.",
    )
    role = ChoiceField(
        choices=Role.choices,
        help_text="Below the role of the caller. Change it like that of a member.",
    )
    created_by = serializers.SlugRelatedField[Any](
        slug_field="username", read_only=True, allow_null=True
    )

    class Meta:
        model = ServiceAccount
        fields = [
            "id", "organization", "user", "name", "username", "role", "created_by", "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "organization", "user", "created_at"]
        validators: list[Any] = []
        extra_kwargs = {
            "user": {"help_text": "The id of its user, as in the list of members."},
        }
