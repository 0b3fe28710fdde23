"""What a deployment waits for, and the proof that it can come true."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from deployments.models import Condition, Dependency, Deployment
from hypervisor.base.errors import Invalid


@dataclass(frozen=True, slots=True)
class Wait:
    """One entry of `depends_on`: the id of another deployment, and what must hold of it."""

    deployment: int
    condition: Condition = Condition.COMPLETED


def replace(deployment: Deployment, waits: Sequence[Wait]) -> None:
    """Make these the deployment's dependencies.

    Raises Invalid when one is unknown in the organization, is named twice or closes a circle.
    The caller holds the lock of the organization's dependency graph (see `lock_graph`).
    """
    ids = [wait.deployment for wait in waits]
    there = Deployment.objects.filter(organization_id=deployment.organization_id, pk__in=ids)
    check_known(ids, set(there.values_list("pk", flat=True)))
    if circle := sorted(set(ids) & _dependents(deployment.pk)):
        raise Invalid(
            f"Deployment {circle[0]} already waits for this one, so neither would ever start:"
            " remove one of the two dependencies.",
            attr="depends_on",
            code="dependency_cycle",
        )
    deployment.dependencies.all().delete()
    Dependency.objects.bulk_create(
        Dependency(deployment=deployment, on_id=wait.deployment, condition=wait.condition)
        for wait in waits
    )


def check_known(ids: Sequence[int], known: set[int]) -> None:
    """Raise Invalid when an id is named twice, or is not among those of the organization."""
    if len(set(ids)) != len(ids):
        raise Invalid("Name each deployment once.", attr="depends_on")
    if unknown := sorted(set(ids) - known):
        raise Invalid(
            f"Deployment {unknown[0]} does not exist in this organization.", attr="depends_on"
        )


def lock_graph(organization_id: int) -> None:
    """Let one transaction at a time change the organization's dependencies.

    Two at once could each close half of a circle that neither of them sees.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('deployments.dependencies', %s))",
            [organization_id],
        )


def _dependents(deployment_id: int) -> set[int]:
    """Return the deployment and all that wait for it, directly or through others."""
    sql = """
        WITH RECURSIVE waiting(id) AS (
            SELECT %s::bigint
            UNION
            SELECT d.deployment_id FROM deployments_dependency d JOIN waiting w ON d.on_id = w.id
        ) SELECT id FROM waiting
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, [deployment_id])
        return {row[0] for row in cursor.fetchall()}
