from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import tokens
from accounts.serializers import (
    CredentialsSerializer,
    RefreshTokenSerializer,
    TokenPairSerializer,
)
from accounts.throttles import LogIn, ScopedThrottle
from hypervisor.rest.parameters import StrictParametersMixin
from hypervisor.rest.parsing import StrictFormParser, StrictJSONParser, StrictMultiPartParser

_FORMATS = (StrictJSONParser, StrictFormParser, StrictMultiPartParser)

_JSON = "application/json"
"""The only format in the schema: client generators choose badly among several."""


class PublicView(APIView):
    """A view for callers who have no token yet; the `Authorization` header is ignored."""

    max_body: ClassVar = 256 * 1024
    """The maximum size of the JSON that a caller without a token may send, in bytes."""

    authentication_classes = ()
    permission_classes = ()


@extend_schema(tags=["authentication"])
class TokenView(StrictParametersMixin, PublicView):
    parser_classes = _FORMATS
    throttle_classes = (ScopedThrottle,)
    throttle_scope = LogIn.throttle_scope

    @extend_schema(
        operation_id="log_in",
        request={_JSON: CredentialsSerializer},
        responses=TokenPairSerializer,
    )
    def post(self, request: Request) -> Response:
        """Exchange a username and password, sent as JSON or as a form, for tokens."""
        given = _validated(CredentialsSerializer(data=request.data))
        pair = tokens.log_in(request._request, **given)
        return _tokens(pair)


@extend_schema(tags=["authentication"])
class RefreshView(StrictParametersMixin, PublicView):
    parser_classes = _FORMATS

    @extend_schema(
        operation_id="refresh_tokens",
        request={_JSON: RefreshTokenSerializer},
        responses=TokenPairSerializer,
    )
    def post(self, request: Request) -> Response:
        """Exchange a refresh token for a new pair; it can be used only once.

        If a used refresh token is presented again, the log-in ends: none of its refresh tokens is
        accepted from then on. Access tokens stay valid until they expire.
        """
        given = _validated(RefreshTokenSerializer(data=request.data))
        return _tokens(tokens.refresh(given["refresh_token"]))


@extend_schema(tags=["authentication"])
class RevokeView(StrictParametersMixin):
    of_account: ClassVar = ("post",)

    @extend_schema(operation_id="log_out", request=RefreshTokenSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Log out: end the log-in, so that none of its refresh tokens is accepted any longer."""
        tokens.revoke(_validated(RefreshTokenSerializer(data=request.data))["refresh_token"])
        return Response(status=204)


def _tokens(pair: tokens.TokenPair) -> Response:
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return Response(TokenPairSerializer(pair).data, headers=headers)


def _validated(serializer: Any) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    validated: dict[str, Any] = serializer.validated_data
    return validated
