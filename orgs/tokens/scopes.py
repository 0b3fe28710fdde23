"""The check that every call makes of the caller's token."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from orgs.tokens.grants import Scope, grant_of, require_account, require_scope


class WithinScope(BasePermission):
    """Refuses a call that the caller's token does not allow; a log-in allows every call.

    Reading needs the scope `read`, anything else `admin`, unless the view's `scopes` has another
    one for the action. The actions in the view's `of_account` concern the user rather than an
    organization: they need a log-in, or a token with the scope `admin` for all organizations. The
    action of a plain view is its method.

    The scope also limits the caller's role; see `orgs.permissions`.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        method = str(request.method)
        # Without such a method, the response is 405 whatever the token allows.
        if grant_of(request.user) is None or not hasattr(view, method.lower()):
            return True
        action = getattr(view, "action", None) or method.lower()
        if action in getattr(view, "of_account", ()):
            require_account(request.user)
        else:
            usual = Scope.READ if method in SAFE_METHODS else Scope.ADMIN
            require_scope(request.user, getattr(view, "scopes", {}).get(action, usual))
        return True
