from typing import Any

from rest_framework import serializers

from hypervisor.base.names import TextSerializerField
from hypervisor.rest.schemas import example
from hypervisor.rest.serializers import StrictSerializer

_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"  # noqa: S105
"""An example, which no service has issued."""


@example(body={"username": "alice", "password": "correct horse 9"})
class CredentialsSerializer(serializers.Serializer[Any]):
    """A username and a password; the other fields of OAuth 2's password grant are ignored."""

    username = serializers.CharField(max_length=150)
    password = serializers.CharField(
        max_length=1000, trim_whitespace=False, style={"input_type": "password"}
    )


@example(body={"refresh_token": _TOKEN})
class RefreshTokenSerializer(StrictSerializer):
    """The refresh token of a log-in."""

    refresh_token = TextSerializerField(max_length=4000)


@example(
    answer={
        "access_token": _TOKEN,
        "token_type": "bearer",
        "expires_in": 1800,
        "refresh_token": _TOKEN,
    }
)
class TokenPairSerializer(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    token_type = serializers.CharField(default="bearer")
    expires_in = serializers.IntegerField(help_text="Seconds.")
    refresh_token = serializers.CharField()
