"""Dependencies between deployments: how they are stored, and why they form no cycle."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from deployments.choices import Condition
from deployments.models import Dependency, Deployment
from hypervisor.base.errors import Invalid
from hypervisor.base.locks import lock_name


@dataclass(frozen=True, slots=True)
class Wait:
    """An entry of `depends_on`: the id of another deployment, and the condition to wait for."""

    deployment: int
    condition: Condition = Condition.COMPLETED


def replace(deployment: Deployment, waits: Sequence[Wait]) -> None:
    """Replace the deployment's dependencies.

    Raises Invalid if one is unknown in the organization, is named twice or closes a cycle. The
    caller has locked the organization's dependency graph (see `lock_graph`).
    """
    ids = [wait.deployment for wait in waits]
    existing = Deployment.objects.filter(organization_id=deployment.organization_id, pk__in=ids)
    check_known(ids, set(existing.values_list("pk", flat=True)))
    if cycle := sorted(set(ids) & _dependents(deployment.pk)):
        raise Invalid(
            f"Deployment {cycle[0]} already waits for this deployment, so neither would ever start:"
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
    """Raise Invalid if an id is repeated, or is not among the known ids of the organization."""
    if len(set(ids)) != len(ids):
        raise Invalid("Each deployment can be named only once.", attr="depends_on")
    if unknown := sorted(set(ids) - known):
        raise Invalid(
            f"Deployment {unknown[0]} does not exist in this organization: correct the id.",
            attr="depends_on",
        )


def lock_graph(organization_id: int) -> None:
    """Let only one transaction at a time change the organization's dependencies.

    Otherwise two concurrent changes could close a cycle that neither transaction sees.
    """
    lock_name("deployments.dependencies", organization_id)


def _dependents(deployment_id: int) -> set[int]:
    """Return the ids of the deployment and of its dependents, direct and indirect."""
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
