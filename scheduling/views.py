"""All calls of /deployments.

They are here rather than in `deployments` because the dry run and `explain` need the planner.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, cast

from django.db.models import prefetch_related_objects
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from deployments import bulk, handover, services
from deployments.bulk import Entry
from deployments.logs import store
from deployments.logs.follow_limit import Following
from deployments.models import Dependency, Deployment
from deployments.serializers import (
    BulkSerializer,
    DeploymentSerializer,
    EventSerializer,
    HandOverSerializer,
)
from hypervisor.rest.parameters import PAGE, StrictParametersMixin, flag, whole_number
from hypervisor.rest.schemas import ANSWER
from orgs.models import Event, Role
from orgs.permissions import organization_for
from orgs.tokens.grants import Scope
from scheduling.group_views import OF_MANY, OF_MANY_FOR_ADMINS, GroupMixin
from scheduling.insight.dry_run import dry_run
from scheduling.insight.explain import explain
from scheduling.serializers import DryRunSerializer, ExplanationSerializer

_OWN_VERBS = ("update", "partial_update", "destroy", "start", "stop", "cancel", "checkpoint")

_NO_DEPENDENCIES = {"dependencies": Dependency.objects.none()}
"""The prefetched objects of new deployments without dependencies, evaluated once."""


class TextRenderer(JSONRenderer):
    """Lets a caller accept `text/plain`; errors are JSON anyway."""

    media_type = "text/plain"
    format = "text"


@extend_schema(tags=["deployments"])
class DeploymentViewSet(ListModelMixin, RetrieveModelMixin, GroupMixin):
    """Deployments: pending, active and ended."""

    queryset = Deployment.objects.select_related("cluster", "node", "array").prefetch_related(
        "dependencies", "cluster__connections"
    )
    serializer_class = DeploymentSerializer
    ordering_fields: ClassVar = [
        "id", "name", "priority", "status", "created_at", "queued_at", "started_at", "finished_at",
    ]  # fmt: skip
    bodies: ClassVar = (*StrictParametersMixin.bodies, "bulk", "hand_over", "reprioritize_many")
    filtered: ClassVar = ("list", *OF_MANY, *OF_MANY_FOR_ADMINS)
    query_parameters: ClassVar = {
        "create": ("dry_run",),
        "events": PAGE,
        "logs": ("tail", "follow", "run"),
        **dict.fromkeys((*OF_MANY, *OF_MANY_FOR_ADMINS), ("all", "limit")),
    }
    read_with_caller: ClassVar = dict.fromkeys(("create", "bulk"), bulk.READ_WITH_CALLER)
    own_errors: ClassVar = {"logs": (HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)}
    own_roles: ClassVar = dict.fromkeys(_OWN_VERBS, Role.DEVELOPER)
    roles: ClassVar = dict.fromkeys((*_OWN_VERBS, "hold", "release"), Role.ADMIN)
    scopes: ClassVar = dict.fromkeys((*_OWN_VERBS, "create", "bulk", *OF_MANY), Scope.SUBMIT)
    dry_runs: ClassVar = (
        *_OWN_VERBS, "hold", "release", "bulk", "hand_over", *OF_MANY, *OF_MANY_FOR_ADMINS,
    )  # fmt: skip

    @classmethod
    def owner_id_of(cls, obj: Deployment) -> int | None:
        return obj.created_by_id

    @extend_schema(
        operation_id="submit_deployment",
        parameters=[
            OpenApiParameter(
                "dry_run",
                bool,
                description="Store nothing: return where the deployment would run now, which"
                " deployments it would preempt, or why it would wait. Of an array, return also how"
                " many of its elements would start now.",
            )
        ],
        responses={200: DryRunSerializer, 201: DeploymentSerializer},
    )
    def create(self, request: Request) -> Response:
        """Submit a deployment. It is pending until the scheduler places it on a cluster."""
        is_dry_run = flag(request, "dry_run")
        serializer = DeploymentSerializer.of(request.data)
        serializer.is_valid(raise_exception=True)
        (entry,) = bulk.authorize(caller(request), {"": serializer.validated_data})
        if is_dry_run:
            result = dry_run(created_by=caller(request), entry=entry)
            return Response(DryRunSerializer(result).data)
        (created,) = self._submit(request, [entry])
        return Response(serializer.to_representation(created), status=201)

    @extend_schema(
        operation_id="submit_deployments",
        request=BulkSerializer,
        responses={201: BulkSerializer},
    )
    @action(detail=False, methods=["post"])
    def bulk(self, request: Request) -> Response:
        """Submit up to 1,000 deployments: all of them, or none.

        The `attr` of an error begins with the entry that it is about, as in `deployments.3.cpu`.
        """
        serializer = BulkSerializer.of(request.data)
        serializer.is_valid(raise_exception=True)
        rows = enumerate(serializer.validated_data["deployments"])
        entries = bulk.authorize(caller(request), {f"deployments.{n}": row for n, row in rows})
        created = self._submit(request, entries)
        return Response(serializer.to_representation({"deployments": created}), status=201)

    @extend_schema(
        operation_id="hand_over_deployments",
        request=HandOverSerializer,
        responses=HandOverSerializer,
    )
    @action(detail=False, methods=["post"], url_path="hand-over")
    def hand_over(self, request: Request) -> Response:
        """Make another member the submitter of a user's deployments that have not ended.

        For admins, when a member leaves the organization or has left it.
        """
        serializer = HandOverSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        organization = organization_for(
            request.user, given.pop("organization_id", None), Role.ADMIN
        )
        count = handover.hand_over(organization, actor=request.user.get_username(), **given)
        return Response({"handed_over": count})

    def update(self, request: Request, pk: str, partial: bool = False) -> Response:
        """Replace a deployment's specification.

        Name, priority and restart policy can change until it has ended, all else only while it is
        pending.
        """
        deployment = self.get_object()
        serializer = cast(
            "DeploymentSerializer",
            self.get_serializer(deployment, data=request.data, partial=partial),
        )
        serializer.is_valid(raise_exception=True)
        cluster = bulk.cluster_of_change(caller(request), deployment, serializer.validated_data)
        services.update(
            deployment, actor=request.user.get_username(), spec=serializer.spec(cluster)
        )
        return self._answer(deployment)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change some fields of a deployment's specification.

        Name, priority and restart policy can change until it has ended, all else only while it is
        pending.
        """
        return self.update(request, pk, partial=True)

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a pending or ended deployment, with its runs and their output."""
        services.delete(self.get_object(), actor=request.user.get_username())
        return Response(status=204)

    @extend_schema(request=None, responses={202: DeploymentSerializer})
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        """Queue an ended deployment again."""
        return self._carry_out(services.start, request, status=202)

    @extend_schema(request=None, responses={202: DeploymentSerializer})
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Stop a starting or running deployment."""
        return self._carry_out(services.stop, request, status=202)

    @extend_schema(request=None, responses=DeploymentSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel a pending deployment: remove it from the queue."""
        return self._carry_out(services.cancel, request)

    @extend_schema(request=None, responses=DeploymentSerializer)
    @action(detail=True, methods=["post"])
    def hold(self, request: Request, pk: str) -> Response:
        """Put a pending deployment on hold: it is not placed until it is released."""
        return self._carry_out(services.hold, request)

    @extend_schema(request=None, responses=DeploymentSerializer)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Release a held deployment: it competes for capacity again."""
        return self._carry_out(services.release, request)

    @extend_schema(operation_id="report_checkpoint", request=None, responses={204: None})
    @action(detail=True, methods=["post"])
    def checkpoint(self, request: Request, pk: str) -> Response:
        """Report a checkpoint: an eviction loses only the work after it."""
        services.checkpoint(self.get_object(), actor=request.user.get_username())
        return Response(status=204)

    @extend_schema(operation_id="list_deployment_events", responses=EventSerializer(many=True))
    @action(detail=True, methods=["get"])
    def events(self, request: Request, pk: str) -> Response:
        """List the deployment's events, the oldest first."""
        deployment = self.get_object()
        events = Event.objects.filter(
            subject=Event.Subject.DEPLOYMENT, subject_id=deployment.pk
        ).order_by("pk")
        return self.paginated(events, EventSerializer)

    @extend_schema(responses=ExplanationSerializer)
    @action(detail=True, methods=["get"])
    def explain(self, request: Request, pk: str) -> Response:
        """Explain the deployment's status; while it is pending, what it waits for and where."""
        return Response(ExplanationSerializer(explain(self.get_object())).data)

    @extend_schema(
        operation_id="read_deployment_logs",
        parameters=[
            OpenApiParameter(
                "tail",
                str,
                pattern="^(all|[0-9]{1,6})$",
                default=str(store.DEFAULT_TAIL),
                description="How many of the last lines to return, or `all`. Without `follow`, at"
                " most 8 MiB.",
            ),
            OpenApiParameter(
                "follow",
                bool,
                description="Continue until the run ends. If the deployment is pending or starting,"
                " wait for its next run. Only a few logs can be followed at a time.",
            ),
            OpenApiParameter(
                "run",
                {"type": "integer", "minimum": 1},
                description="Id of an earlier run, from the events. Default: the last run.",
            ),
        ],
        responses={(200, "text/plain"): str},
        examples=[
            OpenApiExample(
                ANSWER, "epoch 1\nepoch 2\n", response_only=True, media_type="text/plain"
            )
        ],
    )
    @action(detail=True, methods=["get"], renderer_classes=[JSONRenderer, TextRenderer])
    def logs(self, request: Request, pk: str) -> HttpResponseBase:
        """Return the container's output; once the container is removed, the stored last part."""
        tail, follows = _tail(request), flag(request, "follow")
        run_id = whole_number(request, "run", 1, 10**18 - 1)
        deployment = self.get_object()
        text = "text/plain; charset=utf-8"
        # Otherwise a proxy may buffer lines until there are more.
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        if not follows:
            whole = store.read(store.run_of(deployment, run_id), tail=tail)
            return HttpResponse(whole, content_type=text, headers=headers)
        pieces = Following(
            store.follow(deployment, tail=tail, run_id=run_id),
            user=caller(request).pk,
            organization=deployment.organization_id,
        )
        return StreamingHttpResponse(pieces, content_type=text, headers=headers)

    def _submit(self, request: Request, entries: Sequence[Entry]) -> list[Deployment]:
        created = bulk.submit_many(created_by=caller(request), entries=entries)
        if any(entry.spec.depends_on for entry in entries):
            prefetch_related_objects(created, "dependencies")
        else:
            for row in created:
                row._prefetched_objects_cache = _NO_DEPENDENCIES  # type: ignore[attr-defined]
        return created

    def _carry_out(
        self, verb: Callable[..., Deployment], request: Request, status: int = 200
    ) -> Response:
        deployment = verb(self.get_object(), actor=request.user.get_username())
        return self._answer(deployment, status)

    def _answer(self, deployment: Deployment, status: int = 200) -> Response:
        row: Any = get_object_or_404(self.get_queryset(), pk=deployment.pk)
        return Response(self.get_serializer(row).data, status=status)


def _tail(request: Request) -> int | None:
    """Return how many lines the caller requests, None for all."""
    if request.query_params.get("tail") == "all":
        return None
    try:
        tail = whole_number(request, "tail", 0, 10**6)
    except ValidationError:
        detail = "Give a whole number from 0 to 1000000, or `all`."
        raise ValidationError({"tail": detail}) from None
    return store.DEFAULT_TAIL if tail is None else tail
