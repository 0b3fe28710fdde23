"""The kinds of notices, and the rule that holds for a person without one."""

from django.db import models


class Kind(models.TextChoices):
    """What happened to a deployment."""

    PREEMPTED = "preempted", "It was evicted or moved for another one."
    FAILED = "failed", "It failed."
    STARTED_LATE = "started_late", "It started after a long wait."
    COMPLETED = "completed", "It ended with success."
    WAITS_LONG = "waits_long", "It has been waiting for long."
    NEVER_STARTS = "never_starts", "It cannot start until somebody changes something."


class Channel(models.TextChoices):
    """How a recipient gets notices."""

    MAIL = "mail", "Mail"
    SLACK = "slack", "Slack-compatible address"
    WEBHOOK = "webhook", "Signed webhook"


class Scope(models.TextChoices):
    """Whose rule it is, and which deployments it is about."""

    OWN = "own", "My deployments, to me"
    ALL = "all", "All deployments of an organization, to me"
    ORGANIZATION = "organization", "All deployments of an organization, to the organization"


DEFAULT_KINDS = (Kind.PREEMPTED, Kind.FAILED, Kind.STARTED_LATE)
"""What a person gets about the own deployments by mail, without a rule for them."""

DEFAULT_WAIT_MINUTES = 15
