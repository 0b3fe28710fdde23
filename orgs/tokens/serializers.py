from typing import Any

from rest_framework import serializers

from hypervisor.rest.schemas import example
from hypervisor.rest.serializers import ChoiceField, IdField, IntegerField, StrictModelSerializer
from orgs.models import ApiToken
from orgs.tokens.grants import Scope
from orgs.tokens.services import DEFAULT_DAYS

API_TOKEN = {
    "id": 1,
    "name": "nightly training",
    "scopes": ["read", "submit"],
    "organization": 1,
    "service_account": None,
    "start": "hv_9fKq2c",
    "created_at": "2026-01-05T09:00:00Z",
    "expires_at": "2026-04-05T09:00:00Z",
    "last_used_at": None,
}
_GIVEN = {"name": "nightly training", "scopes": ["submit"], "expires_in_days": 90}
_TOKEN = "hv_9fKq2cX0m1T7sYb3Jd5nWvLrA8eZgQ4uHkPpCxNwE6o"  # noqa: S105
"""Parts of the examples in the OpenAPI document; no service has issued the token."""


@example(body=_GIVEN, answer=API_TOKEN)
class ApiTokenSerializer(StrictModelSerializer[ApiToken]):
    """A token for programs, without the token itself."""

    scopes = serializers.ListField(
        child=ChoiceField(choices=Scope.choices),
        allow_empty=False,
        max_length=len(Scope),
        help_text="What the token allows of what its user may do: `read`; `submit`, to submit"
        " deployments and change those of the user; `admin`, everything. Each includes the ones"
        " before it.",
    )
    organization = IdField(
        source="organization_id",
        required=False,
        allow_null=True,
        default=None,
        help_text="The id of the only organization that the token is for; null: all organizations"
        " of its user.",
    )
    service_account = IdField(
        source="service_account_id",
        required=False,
        allow_null=True,
        default=None,
        help_text="The id of the service account that the token is for, which the caller has to"
        " administer; null: the caller.",
    )
    expires_in_days = IntegerField(
        required=False,
        allow_null=True,
        default=None,
        min_value=1,
        max_value=36500,
        write_only=True,
        help_text=f"How long the token is valid; {DEFAULT_DAYS} days if not given. Operators limit"
        " it.",
    )

    class Meta:
        model = ApiToken
        fields = [
            "id", "name", "scopes", "organization", "service_account", "start", "created_at",
            "expires_at", "last_used_at", "expires_in_days",
        ]  # fmt: skip
        read_only_fields = ["id", "start", "created_at", "expires_at", "last_used_at"]
        extra_kwargs = {
            "start": {"help_text": "The first characters of the token, to recognize it by."},
            "last_used_at": {"help_text": "Up to a minute old; null if it was never used."},
        }

    def validate_scopes(self, scopes: list[str]) -> Scope:
        """Return the highest scope, which includes the others."""
        return max(map(Scope, scopes), key=lambda scope: scope.rank)


@example(answer={**API_TOKEN, "token": _TOKEN})
class NewApiTokenSerializer(ApiTokenSerializer):
    """A new token, with the token itself."""

    token = serializers.SerializerMethodField(
        help_text="The token, which no other call shows. It is null in the replay of a repeated"
        " request, because it is not stored: revoke that token and create another one."
    )

    class Meta(ApiTokenSerializer.Meta):
        fields = [*ApiTokenSerializer.Meta.fields, "token"]

    def get_token(self, token: ApiToken) -> str | None:
        text: str | None = self.context["token"]
        return text

    def to_internal_value(self, data: Any) -> Any:
        raise NotImplementedError("A request has no token: read it with ApiTokenSerializer.")
