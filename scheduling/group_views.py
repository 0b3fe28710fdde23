"""The calls of /deployments on all deployments that the filters select."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from deployments import selection
from deployments.filters import DeploymentFilter
from deployments.models import Deployment, DeploymentQuerySet
from deployments.selection import Action
from deployments.serializers import PrioritySerializer, SelectionSerializer
from hypervisor.base.errors import Invalid
from hypervisor.rest.parameters import flag, whole_number
from orgs.viewsets import TenantViewSet

OF_MANY = ("cancel_many", "stop_many", "start_many", "reprioritize_many")
OF_MANY_FOR_ADMINS = ("hold_many", "release_many")
"""The actions; what they need of a single deployment, they need of each."""

_SELECTION = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": selection.MAX_CHANGED},
        description="Change at most this many deployments, in the order of their ids.",
    ),
    OpenApiParameter(
        "all", bool, description="Needed if no filter is given: select every visible deployment."
    ),
]


def _of_many(name: str, path: str, request: Any = None) -> Callable[[Any], Any]:
    """Return the decorator of a call on all deployments that the filters select."""

    def decorate(function: Any) -> Any:
        decorated = action(detail=False, methods=["post"], url_path=path)(function)
        return extend_schema(
            operation_id=name, request=request, parameters=_SELECTION, responses=SelectionSerializer
        )(decorated)

    return decorate


class GroupMixin(TenantViewSet[Deployment]):
    """Changes what the filters of the list select."""

    filterset_class = DeploymentFilter

    @_of_many("cancel_deployments", "cancel")
    def cancel_many(self, request: Request) -> Response:
        """Cancel all pending deployments that the filters select.

        The filters are the same as for `GET /deployments`. Deployments that are starting, running
        or stopping are skipped, and so are deployments that the caller may not cancel; ended ones
        are left out. One call changes at most 1,000 deployments, in one transaction. For more, give
        `limit` and repeat the call until `remaining` is 0. Repeating the call is safe.
        """
        return self._carry_out_many(selection.CANCEL, request)

    @_of_many("stop_deployments", "stop")
    def stop_many(self, request: Request) -> Response:
        """Stop all starting and running deployments that the filters select.

        Pending deployments are skipped: cancel them instead. Filters, limits and result are as for
        `POST /deployments/cancel`.
        """
        return self._carry_out_many(selection.STOP, request)

    @_of_many("start_deployments", "start")
    def start_many(self, request: Request) -> Response:
        """Queue all ended deployments that the filters select again.

        Deployments that have not ended are left out. With `status=failed`, this retries what has
        failed. Filters, limits and result are as for `POST /deployments/cancel`.
        """
        return self._carry_out_many(selection.START, request)

    @_of_many("hold_deployments", "hold")
    def hold_many(self, request: Request) -> Response:
        """Put all pending deployments that the filters select on hold.

        For admins. Filters, limits and result are as for `POST /deployments/cancel`.
        """
        return self._carry_out_many(selection.HOLD, request)

    @_of_many("release_deployments", "release")
    def release_many(self, request: Request) -> Response:
        """Release all held deployments that the filters select.

        For admins. Filters, limits and result are as for `POST /deployments/cancel`.
        """
        return self._carry_out_many(selection.RELEASE, request)

    @_of_many("reprioritize_deployments", "priority", request=PrioritySerializer)
    def reprioritize_many(self, request: Request) -> Response:
        """Give all deployments that the filters select another priority.

        Ended deployments are left out. Filters, limits and result are as for `POST
        /deployments/cancel`.
        """
        serializer = PrioritySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return self._carry_out_many(selection.REPRIORITIZE, request, **serializer.validated_data)

    def _carry_out_many(self, action: Action, request: Request, **given: Any) -> Response:
        filters = set(request.query_params) & set(self.filterset_class.base_filters)
        if bool(filters) == flag(request, "all"):
            raise Invalid(
                "Give either filters, such as `name` or `created_by`, or `all=true` for all"
                " deployments in your organizations.",
                attr="all",
                code="invalid" if filters else "required",
            )
        rows = cast("DeploymentQuerySet", self.filter_queryset(self.get_queryset()))
        limit = whole_number(request, "limit", 1, selection.MAX_CHANGED)
        outcome = selection.carry_out(action, rows, user=caller(request), limit=limit, **given)
        dry_run = flag(request, "dry_run")
        return Response(SelectionSerializer({"dry_run": dry_run, **asdict(outcome)}).data)
