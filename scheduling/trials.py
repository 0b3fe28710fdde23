"""The dry runs of all views, which other apps register their changes for."""

from collections.abc import Callable
from typing import Any

from rest_framework.response import Response

from orgs.tenancy import Person
from scheduling.insight import trial
from scheduling.serializers import PreviewSerializer


def try_out(call: Callable[[], Response], user: Person) -> tuple[Response, dict[str, Any]]:
    """Make the call and roll it back, as `orgs.dry_runs.TryOut` describes."""
    response, result = trial.try_out(call, user)
    return response, dict(PreviewSerializer(result).data)
