"""Every kind of event, by the subject that it is about, with its meaning.

The list is closed: a new kind is added here, where the documentation and the check of the parameter
`kinds` take it from.
"""

from collections.abc import Collection

from django.db.models import Q

from orgs.models import Event

_STATES = {
    "active": "accepts deployments again",
    "cordoned": "accepts no new deployments",
    "draining": "is being emptied",
}

OF_ORGANIZATIONS = {
    "created": "It was created.",
    "renamed": "It has another name.",
    "invite_regenerated": "It has another invite code.",
    "member_joined": "A user joined with the invite code.",
    "member_added": "An operator added a member.",
    "role_changed": "A member has another role.",
    "member_removed": "A member left or was removed.",
    "service_account_added": "A service account was added.",
    "token_created": "A member made a token for it.",
    "token_revoked": "A token for it was revoked.",
    "registry_added": "A log-in to a registry was stored.",
    "registry_updated": "A log-in to a registry was changed.",
    "registry_deleted": "A log-in to a registry was deleted.",
    "webhook_added": "A webhook was added.",
    "webhook_updated": "A webhook was changed.",
    "webhook_deleted": "A webhook was deleted.",
    "webhook_secret_rotated": "A webhook has another secret.",
    "webhook_enabled": "Events are sent to a webhook again.",
    "webhook_disabled": "Events are not sent to a webhook any more.",
}

OF_CLUSTERS = {
    "created": "It was created.",
    "updated": "Its name or capacity changed.",
    "deleted": "It was deleted.",
    **{state: f"It {what}." for state, what in _STATES.items()},
    "connected": "An operator connected an engine.",
    "disconnected": "An operator disconnected an engine.",
    "node_added": "A node was added.",
    "node_updated": "A node changed.",
    "node_deleted": "A node was deleted.",
    "node_refused": "A node of the engine cannot be added.",
    **{f"node_{state}": f"A node {what}." for state, what in _STATES.items()},
    "node_lost": "A node of the engine is lost.",
    "lost_contact": "An engine does not answer.",
    "contact_regained": "An engine answers again.",
    "declared_lost": "An operator declared an engine lost.",
    "engine_claimed": "An operator claimed an engine.",
    "engine_unclaimed": "An engine has to be claimed by an operator.",
    "orphan_removed": "A container that was left behind was removed.",
    "unknown_container": "An engine has a container that this database does not know.",
}

OF_DEPLOYMENTS = {
    "submitted": "It was submitted, and waits.",
    "updated": "Its specification changed.",
    "deleted": "It was deleted.",
    "handed_over": "Another member is its submitter.",
    "held": "It was put on hold.",
    "released": "It was released.",
    "waits": "It waits for a deployment, a time or a release.",
    "dependency_met": "The deployments that it waited for have ended as it requires.",
    "placed": "It was placed on a cluster.",
    "preparing": "Its container is being prepared.",
    "start_failed": "Its container could not be started yet.",
    "running": "Its container runs.",
    "caution": "Something about its node or container needs attention.",
    "lost_contact": "The engine that runs it does not answer.",
    "contact_regained": "The engine that runs it answers again.",
    "checkpoint": "It reported a checkpoint.",
    "evicted": "It was evicted, and waits again.",
    "moved": "It was moved to other nodes.",
    "requeued": "It waits again, because its cluster or node is gone.",
    "restart_scheduled": "It failed, and is started again.",
    "stop_requested": "It is being stopped.",
    "runtime_reached": "It has run for as long as it may, and is being stopped.",
    "killed": "Its container was killed after the grace period.",
    "completed": "It ended with success.",
    "failed": "It failed.",
    "stopped": "It was stopped.",
    "cancelled": "It was cancelled before it ran.",
    "restarted": "It was started again.",
    "preemption_suspended": "It may evict no other deployment for a while.",
}

BY_SUBJECT = {
    Event.Subject.ORGANIZATION: OF_ORGANIZATIONS,
    Event.Subject.CLUSTER: OF_CLUSTERS,
    Event.Subject.DEPLOYMENT: OF_DEPLOYMENTS,
}

KINDS = sorted({kind for kinds in BY_SUBJECT.values() for kind in kinds})

CHOICES = [*map(str, BY_SUBJECT), *KINDS]
"""What a follower may ask for: a subject stands for all of its kinds, also those to come."""


def condition(kinds: Collection[str], event: str = "") -> Q:
    """Return the condition that an event is of one of these kinds, or about such a subject.

    Without any, all events are meant. `event` begins the names of the event's columns.
    """
    if not kinds:
        return Q()
    return Q(**{f"{event}kind__in": kinds}) | Q(**{f"{event}subject__in": kinds})
