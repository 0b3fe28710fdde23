"""The REST representation of events in a feed."""

from typing import Any

from rest_framework import serializers

from hypervisor.rest.schemas import example
from orgs.models import Event

EVENT: dict[str, Any] = {
    "number": 1207,
    "organization": 1,
    "subject": "deployment",
    "subject_id": 7,
    "time": "2026-01-05T09:10:01Z",
    "kind": "placed",
    "actor": "system:scheduler",
    "reason": "Needs 8 CPU, 16 GiB RAM, 2 GPU; placed on rack-1.",
    "status": "starting",
    "data": {},
}


@example(answer=EVENT)
class NumberedEventSerializer(serializers.ModelSerializer[Event]):
    """An event with its number in the organization."""

    number = serializers.IntegerField(
        source="numbering.number", help_text="From 1 in each organization, without holes."
    )
    organization = serializers.IntegerField(
        source="organization_id", help_text="The organization's id."
    )
    subject_id = serializers.IntegerField(
        help_text="The id of the organization, cluster or deployment, which may be deleted by now."
    )

    class Meta:
        model = Event
        fields = [
            "number", "organization", "subject", "subject_id", "time", "kind", "actor", "reason",
            "status", "data",
        ]  # fmt: skip


@example(answer={"events": [EVENT], "after": 1207})
class FollowedEventsSerializer(serializers.Serializer[Any]):
    """Events in the order of their numbers, and where to continue."""

    events = NumberedEventSerializer(many=True)
    after = serializers.IntegerField(
        help_text="Give this number as `after` in the next call. It counts events that the filters"
        " leave out."
    )
