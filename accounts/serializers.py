from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from hypervisor.rest.serializers import StrictSerializer


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Alice", {"username": "alice", "password": "correct horse 9"}, request_only=True
        )
    ]
)
class CredentialsSerializer(serializers.Serializer[Any]):
    """A username and a password; the other fields of OAuth 2's password grant are ignored."""

    username = serializers.CharField(max_length=150)
    password = serializers.CharField(
        max_length=1000, trim_whitespace=False, style={"input_type": "password"}
    )


class RefreshTokenSerializer(StrictSerializer):
    """The refresh token of a log-in."""

    refresh_token = serializers.CharField(max_length=4000)


class TokenPairSerializer(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    token_type = serializers.CharField(default="bearer")
    expires_in = serializers.IntegerField(help_text="Seconds.")
    refresh_token = serializers.CharField()
