from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Count, Exists, OuterRef, Q, Subquery
from django.db.models.functions import JSONObject
from django.utils import timezone

from accounts.audit.triggers import trail
from deployments.changes import log_of_arrays
from hypervisor.base.names import NameField
from orgs.models import Organization
from orgs.tenancy import TenantQuerySet


class ArrayQuerySet(TenantQuerySet["Array"]):
    def without_elements(self) -> "ArrayQuerySet":
        return self.filter(~Exists(_elements().filter(array=OuterRef("pk"))))

    def with_counts(self) -> "ArrayQuerySet":
        """Add `counts`: how many elements are in each status, by status, None without elements."""
        elements = _elements()
        statuses = elements.model._meta.get_field("status").choices
        counts = {value: Count("pk", filter=Q(status=value)) for value, _ in statuses}
        of_each = elements.filter(array=OuterRef("pk")).order_by().values("array")
        return self.annotate(
            counts=Subquery(of_each.annotate(counts=JSONObject(**counts)).values("counts"))
        )


def _elements() -> Any:
    return apps.get_model("deployments", "Deployment").objects


class Array(models.Model):
    """Equal deployments of one submission, its elements, numbered from 0 to `size` - 1.

    At most `at_once` of them are active at the same time; None: any number. Elements may have been
    deleted since.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="arrays", db_index=False
    )
    name = NameField(max_length=200)
    size = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    at_once = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = ArrayQuerySet.as_manager()

    if TYPE_CHECKING:
        organization_id: int
        created_by_id: int | None

    class Meta:
        ordering = ["-id"]
        triggers = [*trail("name", "size", "at_once", inserts=False), log_of_arrays()]
        indexes = [
            models.Index(fields=["organization", "-id"], name="array_newest"),
            models.Index(fields=["created_at"], name="array_created"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(size__gte=1), name="array_size_positive"),
            models.CheckConstraint(
                condition=Q(at_once=None) | Q(at_once__gte=1), name="array_at_once_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (array {self.pk})"
