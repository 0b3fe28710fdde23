"""The numbers of events: from 1 in each organization, without holes.

The ids of events do not serve as positions, because transactions do not commit in the order of
their ids: 7 may be visible before 6, and a follower that continues after 7 never sees 6.
"""

import pgtrigger
from django.db import models


class UnnumberedEvent(models.Model):
    """An event without a number. A trigger adds the row in the transaction of the event."""

    event_id = models.BigIntegerField(primary_key=True)
    organization = models.ForeignKey(
        "orgs.Organization",
        on_delete=models.CASCADE,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )

    class Meta:
        ordering = ["event_id"]

    def __str__(self) -> str:
        return f"event {self.event_id} has no number yet"


class EventNumber(models.Model):
    """The event's number, which never changes.

    A committed number is higher than all numbers of the organization that were committed before.
    """

    event = models.OneToOneField(
        "orgs.Event",
        on_delete=models.DO_NOTHING,
        primary_key=True,
        related_name="numbering",
        db_constraint=False,
    )
    organization = models.ForeignKey(
        "orgs.Organization",
        on_delete=models.CASCADE,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    number = models.BigIntegerField()

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "number"], name="event_number_unique")
        ]

    def __str__(self) -> str:
        return (
            f"event {self.event_id} is number {self.number} of organization {self.organization_id}"
        )


class EventCounter(models.Model):
    """The last number of an organization, and the highest number of a deleted event (0: none)."""

    organization = models.OneToOneField(
        "orgs.Organization",
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="+",
        db_constraint=False,
    )
    last_number = models.BigIntegerField()
    deleted_to = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        ordering = ["organization"]

    def __str__(self) -> str:
        return f"organization {self.organization_id} has {self.last_number} events"


def numbers_wanted() -> pgtrigger.Trigger:
    """Return the trigger that adds new events to those without a number, from every kind of writer.

    It only inserts, so that the writers of events wait neither for each other nor for a number.
    """
    return pgtrigger.Trigger(
        name="want_number",
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        referencing=pgtrigger.Referencing(new="new_events"),  # type: ignore[no-untyped-call]
        func="""
            INSERT INTO orgs_unnumberedevent (event_id, organization_id)
            SELECT id, organization_id FROM new_events;
            RETURN NULL;
        """,
    )
