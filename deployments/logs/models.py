"""The kept output of containers."""

from django.db import models
from django.utils import timezone


class RunOutput(models.Model):
    """The last part of an ended container's output, stored when the container was removed.

    `dropped` is true if earlier output was not kept.
    """

    run = models.OneToOneField("deployments.Run", on_delete=models.CASCADE, related_name="output")
    text = models.BinaryField()
    dropped = models.BooleanField(default=False)
    kept_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"output of run {self.run_id}"
