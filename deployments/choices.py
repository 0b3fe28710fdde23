"""The values that columns of deployments and their dependencies have."""

from django.db import models


class Status(models.TextChoices):
    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"


ACTIVE = (Status.STARTING, Status.RUNNING)
"""The request of such a deployment counts against its cluster's capacity."""

OCCUPYING = (*ACTIVE, Status.STOPPING)
"""The container of such a deployment may still be on its cluster."""

ENDED = (Status.COMPLETED, Status.FAILED, Status.STOPPED, Status.CANCELLED)
LIVE = tuple(status for status in Status if status not in ENDED)


class Condition(models.TextChoices):
    COMPLETED = "completed"
    RUNNING = "running"


class OnDependencyFailure(models.TextChoices):
    """What happens to a deployment whose dependency has ended without satisfying it."""

    WAIT = "wait"
    CANCEL = "cancel"


class RestartPolicy(models.TextChoices):
    """Whether a deployment whose own container fails is queued again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"


SATISFYING = {
    Condition.COMPLETED: (Status.COMPLETED,),
    Condition.RUNNING: (Status.RUNNING, Status.COMPLETED),
}
"""The statuses of a dependency in which each condition holds."""
