"""The REST representation of registries, without passwords."""

from collections.abc import Callable
from typing import Any

from rest_framework import serializers

from deployments.images import registry_host
from deployments.registries.checks import MAX_PASSWORD, checked_password, checked_username
from deployments.registries.models import Registry
from hypervisor.base.names import TextSerializerField
from hypervisor.rest.schemas import example
from hypervisor.rest.serializers import StrictModelSerializer
from orgs.serializers import OrganizationField


@example(
    body={"host": "registry.example.org", "username": "ci", "password": "a token"},
    change={"username": "ci", "password": "another token"},
    answer={
        "id": 2,
        "organization": 1,
        "host": "registry.example.org",
        "username": "ci",
        "created_at": "2026-01-05T09:00:00Z",
        "updated_at": "2026-01-05T09:00:00Z",
    },
)
class RegistrySerializer(StrictModelSerializer[Registry]):
    """A log-in to a registry. The password is write-only."""

    organization = OrganizationField()
    host = TextSerializerField(
        max_length=255,
        help_text="As images name it, with a port if they do: `registry.example.org:5000`. Images"
        " without a registry are from `docker.io`.",
    )
    username = TextSerializerField(max_length=255)
    password = TextSerializerField(
        write_only=True,
        max_length=MAX_PASSWORD,
        trim_whitespace=False,
        style={"input_type": "password"},
        help_text="A password or a token. It is stored encrypted and never shown again.",
    )

    class Meta:
        model = Registry
        fields = [
            "id", "organization", "host", "username", "password", "created_at", "updated_at",
        ]  # fmt: skip
        read_only_fields = ["id", "created_at", "updated_at"]
        extra_kwargs = {
            "updated_at": {"help_text": "When the user or the password was last changed."}
        }

    def validate_organization(self, organization_id: int) -> int:
        if self.instance is not None and organization_id != self.instance.organization_id:
            raise serializers.ValidationError(
                "A registry cannot change its organization: leave `organization` out."
            )
        return organization_id

    def validate_host(self, text: str) -> str:
        host = _or_refused(registry_host, text)
        # Otherwise, the stored password could be sent to a host of the caller's choice.
        if self.instance is not None and host != self.instance.host:
            raise serializers.ValidationError(
                "A registry cannot change its host: add another registry and delete this one."
            )
        return host

    def validate_username(self, username: str) -> str:
        return _or_refused(checked_username, username)

    def validate_password(self, password: str) -> str:
        return _or_refused(checked_password, password)

    def given(self) -> dict[str, Any]:
        """Return the user and the password, None if the password is to stay."""
        former: Any = self.instance
        return {
            "username": self.validated_data.get("username", former and former.username),
            "password": self.validated_data.get("password"),
        }


def _or_refused(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise serializers.ValidationError(str(error)) from error
