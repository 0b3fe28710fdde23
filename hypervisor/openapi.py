"""The OpenAPI document and its page."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView


class SchemaView(SpectacularJSONAPIView):
    authentication_classes = ()
    permission_classes = ()


class DocsView(SpectacularSwaggerSplitView):
    authentication_classes = ()
    permission_classes = ()
    url_name = "openapi"


class PasswordFlow(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Lets the Authorize button of the page ask `/token` for a token."""

    target_class = "rest_framework_simplejwt.authentication.JWTAuthentication"
    name = "password"
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "oauth2",
            "flows": {
                "password": {"tokenUrl": "/token", "refreshUrl": "/token/refresh", "scopes": {}}
            },
        }
