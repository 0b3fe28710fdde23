"""What people do with deployments: one function per verb, each atomic and with one event.

Every verb locks the deployment's row and checks its state under the lock. `actor` is a username, or
`system:…` for the hypervisor itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster
from clusters.wakeups import request_cycle, request_reconcile
from deployments import dependencies, groups, lifecycle, wait_codes, waiting
from deployments.arrays.services import delete_if_empty
from deployments.bounds import check_bounds
from deployments.bulk import Entry, submit_many
from deployments.choices import ENDED, OCCUPYING, Status
from deployments.environment import completed
from deployments.lifecycle import Change, Verb, transition
from deployments.models import Deployment
from deployments.specs import Spec, check_capacity, check_changeable, check_image, differences
from hypervisor.base.errors import Conflict, NotFound
from orgs.events import record
from orgs.models import Organization
from orgs.services import protect_organizations

_PLACEMENT = {
    "cpu_milli", "ram_mib", "gpu", "ephemeral_storage_mib", "requested_cluster", "require",
}  # fmt: skip
"""The fields that decide where a deployment fits."""

_CANCELLED_AT_ONCE = 1_000

_UNPLANNED = {
    "name", "labels", "image", "command", "env", "run_as", "restart_policy", "max_restarts",
}  # fmt: skip
"""The fields that no plan depends on: changing only these keeps the revision."""


def submit(
    *, created_by: User, organization: Organization, spec: Spec, bounded: bool = True
) -> Deployment:
    """Queue a new deployment: a bulk of one. Raises the errors of `submit_many`."""
    entries = [Entry(organization, spec)]
    (deployment,) = submit_many(created_by=created_by, entries=entries, bounded=bounded)
    return deployment


@transaction.atomic
def update(deployment: Deployment, *, actor: str, spec: Spec) -> Deployment:
    """Replace the deployment's specification.

    Raises Conflict if a field that differs cannot change in the present status, Invalid if the new
    specification is not possible, and NotFound if its requested cluster does not exist.
    """
    protect_organizations([deployment.organization_id])
    if spec.depends_on:
        dependencies.lock_graph(deployment.organization_id)
    _protect_cluster(spec)
    deployment = Deployment.objects.get_locked(deployment.pk)
    spec = replace(spec, env=completed(spec.env, deployment.env))
    changed = differences(Spec.of(deployment), spec)
    if not changed:
        return deployment
    check_changeable(deployment, set(changed))
    if "image" in changed:
        check_image(spec.image)
    if set(changed) & _PLACEMENT:
        check_capacity(deployment.organization_id, spec)
    values = spec.columns()
    if "priority" in changed:
        values["suspended_until"] = None
    _save(deployment, plan_depends=bool(set(changed) - _UNPLANNED), **values)
    if "depends_on" in changed:
        dependencies.replace(deployment, spec.depends_on)
        _set_reason(deployment, "updated", waiting.NEXT_CYCLE)
    record(deployment, "updated", actor, f"Changed {', '.join(sorted(changed))}.", changed)
    request_cycle(deployment.organization_id)
    return deployment


@transaction.atomic
def adjust(
    deployment: Deployment,
    *,
    actor: str,
    priority: int | None = None,
    name: str | None = None,
    preemptible: bool | None = None,
) -> Deployment:
    """Change what an operator may change in any status. Raises Conflict if it has ended."""
    protect_organizations([deployment.organization_id])
    deployment = Deployment.objects.get_locked(deployment.pk)
    spec = Spec.of(deployment)
    spec = replace(spec, priority=priority or spec.priority, name=name or spec.name)
    if preemptible is not None and preemptible != deployment.preemptible:
        check_changeable(deployment, set())
        _save(deployment, preemptible=preemptible)
        word = "preemptible" if preemptible else "not preemptible"
        record(deployment, "updated", actor, f"Now {word}.", data={"preemptible": preemptible})
        request_cycle(deployment.organization_id)
    return update(deployment, actor=actor, spec=spec)


@transaction.atomic
def start(deployment: Deployment, *, actor: str, bounded: bool = True) -> Deployment:
    """Queue an ended deployment again.

    Raises Conflict if it has not ended, or if too many deployments are pending. A deployment that
    was cancelled while held stays held, so that `start` cannot replace `release`.
    """
    if bounded and deployment.status in ENDED:
        adding = {deployment.organization_id: 1}
        check_bounds(deployment.created_by_id, adding, inserts=False)
    reason = groups.STARTED_HELD if deployment.held else groups.STARTED
    code = wait_codes.HELD if deployment.held else ""
    return _carry_out(deployment, lifecycle.RESTART, actor, reason, code=code)


def stop(deployment: Deployment, *, actor: str) -> Deployment:
    """Stop a starting or running deployment. Raises Conflict in any other status."""
    return _carry_out(deployment, lifecycle.STOP, actor, groups.STOPPED_BY.format(actor))


def cancel(deployment: Deployment, *, actor: str) -> Deployment:
    """Remove a pending deployment from the queue. Raises Conflict in any other status."""
    return _carry_out(deployment, lifecycle.CANCEL, actor, groups.CANCELLED_BY.format(actor))


def preempt(deployment: Deployment, *, actor: str) -> Deployment:
    """Evict an active deployment for an operator; it competes again after the back-off.

    Raises Conflict in any other status.
    """
    wait = settings.SCHEDULER_POLICY.operator_backoff_seconds
    until = timezone.now() + timedelta(seconds=wait)
    reason = f"Preempted by {actor}: competes again at {until:%Y-%m-%d %H:%M:%S} UTC."
    return _carry_out(
        deployment, lifecycle.EVICT, actor, reason, code=wait_codes.BACKOFF, ready_after=until
    )


def requeue(deployment: Deployment, *, actor: str) -> Deployment:
    """Put an active deployment back in the queue, ready at once.

    Raises Conflict in any other status.
    """
    return _carry_out(deployment, lifecycle.REQUEUE, actor, f"Requeued by {actor}.")


def cancel_unsatisfiable(organization_id: int, *, actor: str) -> int:
    """Cancel deployments whose dependency failed, if they ask for it, and then their dependents.

    Returns the number of cancelled deployments.
    """
    count = 0
    rows = Deployment.objects.filter(organization=organization_id).unsatisfiable()
    while rows.exists():
        found = waiting.cancellations(organization_id)
        for start in range(0, len(found), _CANCELLED_AT_ONCE):
            changes = found[start : start + _CANCELLED_AT_ONCE]
            if not _cancel_all(changes, actor):
                break
            count += len(changes)
    return count


def _cancel_all(changes: Sequence[Change], actor: str) -> bool:
    """Cancel all of these or none: none if one has changed, because others follow from it."""
    with transaction.atomic():
        changed = transition(lifecycle.CANCEL, changes, actor=actor, now=timezone.now())
        if len(changed) == len(changes):
            return True
        transaction.set_rollback(True)
    return False


@transaction.atomic
def hold(deployment: Deployment, *, actor: str) -> Deployment:
    """Put a pending deployment on hold. Raises Conflict in any other status."""
    deployment = Deployment.objects.get_locked(deployment.pk)
    _check_pending(deployment, "held")
    if not deployment.held:
        reason = groups.HELD_BY.format(actor)
        _save(deployment, held=True, status_reason=reason, status_code=wait_codes.HELD)
        record(deployment, "held", actor, reason)
        request_cycle(deployment.organization_id)
    return deployment


@transaction.atomic
def release(deployment: Deployment, *, actor: str) -> Deployment:
    """Let a held deployment compete again. Raises Conflict when it is not pending."""
    deployment = Deployment.objects.get_locked(deployment.pk)
    _check_pending(deployment, "released")
    if deployment.held:
        _save(deployment, held=False, suspended_until=None)
        _set_reason(deployment, "released", groups.RELEASED)
        record(deployment, "released", actor, groups.RELEASED_BY.format(actor))
        request_cycle(deployment.organization_id)
    return deployment


@transaction.atomic
def checkpoint(deployment: Deployment, *, actor: str) -> None:
    """Record a checkpoint: an eviction loses only the work after it.

    Raises Conflict if the deployment is not running.
    """
    deployment = Deployment.objects.get_locked(deployment.pk)
    if deployment.status != Status.RUNNING:
        raise Conflict(
            f"Deployment {deployment.pk} is {deployment.status}; only a running deployment can"
            " report a checkpoint: repeat the call while it runs."
        )
    _save(deployment, checkpoint_at=timezone.now())
    record(deployment, "checkpoint", actor, "Progress saved.")


@transaction.atomic
def delete(deployment: Deployment, *, actor: str) -> None:
    """Delete a deployment. Raises Conflict if it is on a cluster, or if another waits for it."""
    protect_organizations([deployment.organization_id])
    # Without the lock, a dependency on it could be added after the check.
    dependencies.lock_graph(deployment.organization_id)
    deployment = Deployment.objects.get_locked(deployment.pk)
    if deployment.status in OCCUPYING:
        raise Conflict(
            f"Deployment {deployment.pk} is {deployment.status}: stop it, wait until it has ended,"
            " then delete it."
        )
    dependents = deployment.dependents.exclude(deployment__status__in=ENDED)
    if waiting := list(dependents.values_list("deployment", flat=True)[:5]):
        raise Conflict(
            f"Deployment {waiting[0]} waits for deployment {deployment.pk}: cancel it or change its"
            " `depends_on` first."
        )
    deployment.dependents.all().delete()
    # Without the lock, the output of a run that ends now could be stored after the deletion.
    list(deployment.runs.locked(for_deletion=True).values("pk"))
    for cluster_id in deployment.runs.unfinished().values_list("cluster", flat=True):
        if cluster_id:
            request_reconcile(cluster_id)
    record(deployment, "deleted", actor, f"{deployment.name} deleted by {actor}.")
    request_cycle(deployment.organization_id)
    deployment.delete()
    if deployment.array_id is not None:
        delete_if_empty(deployment.array_id)


@transaction.atomic
def _carry_out(
    deployment: Deployment,
    verb: Verb,
    actor: str,
    reason: str,
    *,
    code: str = "",
    ready_after: datetime | None = None,
) -> Deployment:
    """Carry out a verb of the lifecycle. Raises Conflict with a remedy if the status forbids it."""
    deployment = Deployment.objects.get_locked(deployment.pk)
    if deployment.status not in verb.sources:
        raise Conflict(_forbidden(deployment, verb))
    change = Change(deployment.pk, reason, ready_after=ready_after, status_code=code or None)
    former = transition(verb, [change], actor=actor, now=timezone.now())[deployment.pk]
    if former is not None:
        request_reconcile(former)
    request_cycle(deployment.organization_id)
    deployment.refresh_from_db()
    if verb.target == Status.PENDING:
        _set_reason(deployment, deployment.status_code, deployment.status_reason)
    return deployment


def _set_reason(deployment: Deployment, code: str, reason: str) -> None:
    """Store why a pending deployment does not compete, or the given reason if it does.

    The caller has locked the row.
    """
    found = waiting.obstacle(deployment, timezone.now())
    deployment.status_code, deployment.status_reason = code, reason
    if found:
        deployment.status_code, deployment.status_reason = found.code, found.reason
    deployment.save(update_fields=["status_code", "status_reason"])


_REMEDIES = {
    Status.PENDING: "cancel it to remove it from the queue",
    Status.STARTING: "stop it first",
    Status.RUNNING: "stop it first",
    Status.STOPPING: "wait until it has stopped",
}


def _forbidden(deployment: Deployment, verb: Verb) -> str:
    remedy = _REMEDIES.get(Status(deployment.status), "start it again to queue it")
    *others, last = verb.sources
    sources = f"{', '.join(others)} or {last}" if others else last
    return (
        f"Deployment {deployment.pk} is {deployment.status}, but this is possible only while it is"
        f" {sources}: {remedy}."
    )


def _check_pending(deployment: Deployment, participle: str) -> None:
    if deployment.status != Status.PENDING:
        remedy = _REMEDIES.get(Status(deployment.status), "start it again first")
        raise Conflict(
            f"Deployment {deployment.pk} is {deployment.status}; only a pending deployment can be"
            f" {participle}: {remedy}."
        )


def _protect_cluster(spec: Spec) -> None:
    """Lock the requested cluster against deletion. Raises NotFound if it does not exist."""
    cluster = spec.requested_cluster
    if cluster and not Cluster.objects.protect([cluster.pk]):
        raise NotFound(f"Cluster {cluster.pk} does not exist.", attr="requested_cluster")


def _save(deployment: Deployment, *, plan_depends: bool = True, **values: Any) -> None:
    for name, value in values.items():
        setattr(deployment, name, value)
    deployment.revision += plan_depends
    deployment.save(update_fields=[*values, "revision"])
