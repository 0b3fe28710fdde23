"""What people do with arrays. The audit trail records each change."""

from django.db import transaction
from django.db.models import F

from clusters.wakeups import request_cycle
from deployments.arrays.models import Array
from deployments.models import Deployment
from orgs.services import protect_organizations


@transaction.atomic
def limit(array: Array, *, at_once: int | None) -> Array:
    """Change how many of the array's elements may be active at once; None: any number.

    If more are active, none is stopped, and none starts until fewer are. Raises NotFound if the
    array was deleted in the meantime.
    """
    protect_organizations([array.organization_id])
    array = Array.objects.get_locked(array.pk)
    if array.at_once == at_once:
        return array
    array.at_once = at_once
    array.save(update_fields=["at_once"])
    # Processes that know the elements read them again, and a plan under the former limit is stale.
    elements = Deployment.objects.live().filter(array=array)
    list(elements.locked().values("pk"))  # in order, because an UPDATE may lock rows in any order
    elements.update(revision=F("revision") + 1)
    request_cycle(array.organization_id)
    return array


def delete_if_empty(array_id: int) -> None:
    """Delete an array without elements, in the transaction that has deleted the last one."""
    Array.objects.filter(pk=array_id).without_elements().delete()
