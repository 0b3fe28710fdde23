"""The calls with which programs follow the events of an organization."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from accounts.authentication import caller
from hypervisor.base.errors import DomainError, Unavailable
from hypervisor.base.numbers import MAX, whole
from hypervisor.base.outages import refusal_of
from hypervisor.rest.parameters import StrictParametersMixin, whole_number
from hypervisor.rest.schemas import ANSWER
from orgs.feed.following import STREAM, Following, Subscription, page
from orgs.feed.kinds import CHOICES
from orgs.feed.reading import Filter, begin, read
from orgs.feed.serializers import EVENT, FollowedEventsSerializer
from orgs.models import Role
from orgs.permissions import organization_for

LONGEST_WAIT_S = 60

_STREAM = f"id: {EVENT['number']}\ndata: {json.dumps(EVENT)}\n\n"
"""An example of a stream."""

_LAST_EVENT_ID = "Last-Event-ID"
_ID: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MAX}
_NUMBER: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": MAX}
_FILTERS = ("after", "kinds", "organization", "deployment")
_PARAMETERS = [
    OpenApiParameter(
        "after",
        _NUMBER,
        description="Return the events after this number: the last one that you have got. 0 begins"
        " with the oldest event that is kept. Default: only what happens from now on.",
    ),
    OpenApiParameter(
        "kinds",
        {"type": "array", "items": {"type": "string", "enum": CHOICES}},
        explode=False,
        description="Return only events of these kinds, separated by commas. `deployment`,"
        " `cluster` and `organization` stand for all kinds of such a subject.",
    ),
    OpenApiParameter(
        "organization",
        _ID,
        description="An organization's id; needed only if the caller is a member of several.",
    ),
    OpenApiParameter(
        "deployment",
        _ID,
        description="Return only events of this deployment, which may be deleted by now.",
    ),
]


class FollowingView(StrictParametersMixin):
    """Checks what a caller wants to follow, and from where."""

    own_errors: ClassVar = {
        "": (HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS)
    }

    def subscription(self, request: Request, after: int | None, wait_s: int | None) -> Subscription:
        """Return what the parameters describe. Raises NotFound and Gone as the API does."""
        wanted = Filter(_kinds(request), whole_number(request, "deployment", 1, MAX))
        named = whole_number(request, "organization", 1, MAX)
        organization = organization_for(request.user, named, Role.VIEWER).pk
        after, last = begin(organization, after)
        return Subscription(
            organization=organization,
            user=caller(request).pk,
            after=after,
            last=last,
            wanted=wanted,
            wait_s=wait_s,
            is_allowed=self._check(request, organization),
        )

    def _check(self, request: Request, organization: int) -> Callable[[], bool]:
        """Return a function that makes this view's checks of the caller once more."""

        def is_allowed() -> bool:
            again = self.initialize_request(request._request, *self.args, **self.kwargs)
            try:
                self.perform_authentication(again)
                self.check_permissions(again)
                organization_for(again.user, organization, Role.VIEWER)
            except (APIException, DomainError):
                return False
            except Exception as error:
                # During an outage there is nothing to follow; the next check decides.
                if isinstance(refusal_of(error), Unavailable):
                    return True
                raise
            return True

        return is_allowed


@extend_schema(tags=["events"])
class EventsView(FollowingView):
    query_parameters: ClassVar = {"get": (*_FILTERS, "wait")}

    @extend_schema(
        operation_id="list_events",
        parameters=[
            *_PARAMETERS,
            OpenApiParameter(
                "wait",
                {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_S, "default": 0},
                description="Wait up to so many seconds for the first event (long poll).",
            ),
        ],
        responses=FollowedEventsSerializer,
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Return the events after a number, or wait for the next one.

        To follow an organization, repeat the call with the `after` of the response. No event is
        lost or repeated, whichever connection or process breaks meanwhile. At most 500 events are
        returned at once. With filters, a page may be empty although there are more events: then its
        `after` has grown.
        """
        wait_s = whole_number(request, "wait", 0, LONGEST_WAIT_S)
        given = self.subscription(request, whole_number(request, "after", 0, MAX), wait_s)
        found = read(given.organization, given.after, given.wanted)
        if found.items or not wait_s or found.after > given.after:
            return HttpResponse(page(found.items, found.after), content_type="application/json")
        return Following(given, content_type="application/json")


class StreamRenderer(JSONRenderer):
    """Lets a caller accept `text/event-stream`; errors are JSON anyway."""

    media_type = STREAM
    format = "stream"


@extend_schema(tags=["events"])
class EventStreamView(FollowingView):
    renderer_classes = (JSONRenderer, StreamRenderer)
    query_parameters: ClassVar = {"get": _FILTERS}

    @extend_schema(
        operation_id="follow_events",
        parameters=[
            *_PARAMETERS,
            OpenApiParameter(
                _LAST_EVENT_ID,
                _NUMBER,
                OpenApiParameter.HEADER,
                description="Takes the place of `after`; browsers send it when they reconnect.",
            ),
        ],
        responses={(200, STREAM): str},
        examples=[OpenApiExample(ANSWER, _STREAM, response_only=True, media_type=STREAM)],
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Stream the events after a number as they happen (server-sent events).

        The `data` of each message is an event as in `GET /events`, its `id` is the event's number.
        Every 15 seconds without an event there is a message without `data`, which sets the `id` to
        resume from. The stream ends when the token expires or is revoked, or when the membership
        ends. A reader that is too slow is disconnected. To resume, give the last `id` as
        `Last-Event-ID` or as `after`.
        """
        after = _last_event_id(request)
        if after is None:
            after = whole_number(request, "after", 0, MAX)
        return Following(self.subscription(request, after, None), content_type=STREAM)


def _kinds(request: Request) -> frozenset[str]:
    text = request.query_params.get("kinds")
    kinds = frozenset(text.split(",") if text else ())
    if unknown := sorted(kinds - set(CHOICES)):
        raise ValidationError(
            {"kinds": f"There is no kind {unknown[0]!r}. The kinds are: {', '.join(CHOICES)}."}
        )
    return kinds


def _last_event_id(request: Request) -> int | None:
    text = request.headers.get(_LAST_EVENT_ID)
    if not text:
        return None
    number = whole(text)
    if number is None or number < 0:
        raise ValidationError({_LAST_EVENT_ID: "Give the number of an event."})
    return number
