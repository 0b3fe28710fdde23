"""The nodes that an engine reports, kept as the cluster's nodes.

What the engine determines is overwritten: which nodes there are, their capacity and their labels.
What people choose stays: a node that they have cordoned or drain remains so.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from clusters import sharing
from clusters.capacity import Capacity
from clusters.demand import demand
from clusters.drivers.base import NodeReport, NodeState
from clusters.models import DIMENSIONS, Cluster, Connection, Node
from clusters.nodes import keep_sums
from clusters.sharing import UNSELECTED
from clusters.wakeups import request_cycle
from hypervisor.base.errors import Conflict
from orgs.events import record

log = structlog.get_logger(__name__)

REFUSED_FOR = timedelta(minutes=5)
"""How long a refusal counts that the engine's reports do not explain."""

GONE = "The engine does not have it any more."

_STATE = ("state", "engine_state", "engine_message", "refused_until", "limits")
_COLUMNS = ("labels", "foreign", *_STATE, *DIMENSIONS)


def sync(
    cluster: Cluster, reports: Sequence[NodeReport], *, actor: str, now: datetime,
    is_new: bool = False,
) -> Sequence[str]:  # fmt: skip
    """Make the cluster's nodes those of the reports; return warnings.

    A node that another cluster of the engine has is left out, with a warning (see `sharing`);
    `is_new` is whether the present nodes are from before the cluster was connected to this engine.

    A node that is not reported is deleted as soon as nothing is on it; until then it is lost, as
    all nodes are if none is reported. A node that the connection's selector no longer matches is
    deleted in the same way, and cordoned until then.
    """
    connection = Connection.objects.filter(cluster=cluster, node=None).first()
    if connection is None:
        return ()
    share = sharing.share_of(connection, reports, is_new=is_new)
    if connection.reports_nodes and _is_in_sync(cluster, share.reports, now):
        return share.warnings
    with transaction.atomic():
        row = Cluster.objects.get_locked(cluster.pk)
        sharing.lock(connection.engine_id)
        share = sharing.share_of(connection, reports, is_new=is_new)
        reports = share.reports
        Connection.objects.filter(pk=connection.pk).update(reports_nodes=True)
        known = {node.name: node for node in row.nodes.all()}
        before = set(known)
        reports = [report for report in reports if report.selected or report.name in known]
        last = not any(report.selected for report in reports)
        changed = [
            _keep(row, known.pop(report.name, None), report, actor, now, last=last)
            for report in reports
        ]
        changed += [_let_go(row, node, actor, last=not reports) for node in known.values()]
        keep_sums(row)
        if any(changed):
            request_cycle(row.organization_id)
        if before - set(row.nodes.values_list("name", flat=True)):
            sharing.wake_others(connection)
    return share.warnings


def warn(cluster: Cluster, warnings: Sequence[str]) -> bool:
    """Record why the reports may be incomplete or old; return whether the nodes are the engine's.

    A cluster whose engine has never reported nodes gets no warning: the operator saw it at the
    probe.
    """
    rows = Connection.objects.filter(cluster=cluster, reports_nodes=True)
    former = rows.values_list("warnings", flat=True).first()
    if former is not None and former != list(warnings):
        rows.update(warnings=list(warnings))
        log.warning("engine_warnings", cluster=cluster.pk, warnings=list(warnings))
    return former is not None


@transaction.atomic
def refused(
    node: Node, message: str, *, limits: Mapping[str, int], actor: str, now: datetime
) -> None:
    """Record that the node refused a container that should have fitted by the engine's reports.

    For a while the node has at most the amounts in `limits`, by dimension. If there are none, the
    reason is not its capacity, and nothing is placed on it.
    """
    row = Cluster.objects.get_locked(node.cluster_id)
    node = Node.objects.get_locked(node.pk)
    node.refused_until, node.limits = now + REFUSED_FOR, dict(limits)
    for name, most in limits.items():
        # Something that the engine does not report uses the rest.
        most = max(min(most, getattr(node, name)), 0 if name == "gpu" else 1)
        node.foreign[name] = node.foreign.get(name, 0) + getattr(node, name) - most
        setattr(node, name, most)
    if not limits and node.engine_state == NodeState.ACTIVE:
        node.engine_state, node.engine_message = NodeState.CORDONED, message
    node.settle()
    node.save(update_fields=_COLUMNS)
    keep_sums(row)
    until = f"{node.refused_until:%H:%M} UTC"
    what = f"counts as having only {Capacity.of(node)}" if limits else "takes no deployments"
    text = f"Node {node.name} refused a container, and {what} until {until}. {message}"
    _record(row, node, "node_refused", actor, text)


def _is_in_sync(cluster: Cluster, reports: Sequence[NodeReport], now: datetime) -> bool:
    known = {node.name: node for node in cluster.nodes.all()}
    selected = {report.name: report for report in reports if report.selected}
    return known.keys() == selected.keys() and not any(
        _differences(node, selected[name], now) for name, node in known.items()
    )


def _differences(node: Node, report: NodeReport, now: datetime) -> list[str]:
    """Return the columns in which the node differs from its report."""
    wanted = _wanted(node, report, now)
    return [name for name in wanted if getattr(node, name) != wanted[name]]


def _wanted(node: Node, report: NodeReport, now: datetime) -> dict[str, object]:
    # A node whose CPU or RAM others use up is too small for any deployment, but never zero.
    refusing = node.refused_until is not None and node.refused_until > now
    most = node.limits if refusing else {}
    reported = _reported(report)
    bound = {name: min(has, most.get(name, has)) for name, has in reported.columns().items()}
    capacity = Capacity(max(bound["cpu_milli"], 1), max(bound["ram_mib"], 1), max(bound["gpu"], 0))
    state, message = report.state, report.message
    if not report.selected and state is not NodeState.LOST:
        state, message = NodeState.CORDONED, UNSELECTED
    if refusing and not most and state is NodeState.ACTIVE:
        state, message = NodeState.CORDONED, node.engine_message
    return {
        "labels": dict(report.labels),
        "foreign": (reported + Capacity(*report.foreign) - capacity).columns(),
        "engine_state": str(state),
        "engine_message": message,
        **capacity.columns(),
    }


def _reported(report: NodeReport) -> Capacity:
    return Capacity(report.cpu_milli, report.ram_mib, report.gpu)


def _keep(
    cluster: Cluster, node: Node | None, report: NodeReport, actor: str, now: datetime, *,
    last: bool,
) -> bool:  # fmt: skip
    """Add the node, or change what differs; return whether anything did.

    A node that is not selected any more is deleted, if nothing is on it and it is not the `last`.
    """
    if node is None:
        _add(cluster, report, actor, now)
        return True
    if not (report.selected or last) and _deleted(cluster, node, actor, UNSELECTED):
        return True
    if not _differences(node, report, now):
        return False
    before, labels, state = _whole(node), node.labels, node.state
    _set(node, report, now)
    node.save(update_fields=_COLUMNS)
    # Without an event if only the amounts of others have changed, which they do all the time.
    if before != _whole(node) or labels != node.labels:
        data = {"capacity": [before, _whole(node)], "labels": [labels, node.labels]}
        text = f"Node {node.name} has changed in its engine: it has {Capacity.of(node)} now."
        _record(cluster, node, "node_updated", actor, text, data)
    if state != node.state:
        _record_state(cluster, node, state, actor)
    return True


def _add(cluster: Cluster, report: NodeReport, actor: str, now: datetime) -> None:
    node = Node(cluster=cluster, name=report.name)
    _set(node, report, now)
    node.save()
    text = f"Node {node.name} added with {Capacity.of(node)}, as its engine reports it."
    _record(cluster, node, "node_added", actor, text)


def _set(node: Node, report: NodeReport, now: datetime) -> None:
    for name, value in _wanted(node, report, now).items():
        setattr(node, name, value)
    node.settle()


def _whole(node: Node) -> dict[str, int]:
    """Return the amounts of the node with those that others use."""
    return {name: getattr(node, name) + node.foreign.get(name, 0) for name in DIMENSIONS}


def _let_go(cluster: Cluster, node: Node, actor: str, *, last: bool) -> bool:
    """Delete a node that is not reported, or make it lost; return whether anything changed."""
    if not last and _deleted(cluster, node, actor, GONE):
        return True
    # It is lost until what is on it has ended.
    if node.engine_message == GONE:
        return False
    former, node.engine_state, node.engine_message = node.state, NodeState.LOST, GONE
    node.settle()
    node.save(update_fields=_STATE)
    _record_state(cluster, node, former, actor)
    return True


def _deleted(cluster: Cluster, node: Node, actor: str, why: str) -> bool:
    """Delete the node if nothing is on it; return whether it was deleted."""
    try:
        demand().before_node_deletion(node)
    except Conflict:
        return False
    _record(cluster, node, "node_deleted", actor, f"Node {node.name} deleted. {why}")
    node.delete()
    return True


def _record_state(cluster: Cluster, node: Node, former: str, actor: str) -> None:
    text = f"Node {node.name} is {node.state} now, as its engine reports. {node.engine_message}"
    data = {"state": [former, node.state]}
    _record(cluster, node, f"node_{node.state}", actor, text.strip(), data)


def _record(
    cluster: Cluster,
    node: Node,
    kind: str,
    actor: str,
    reason: str,
    data: Mapping[str, object] | None = None,
) -> None:
    record(cluster, kind, actor, reason, {"node": node.pk, **(data or {})})
