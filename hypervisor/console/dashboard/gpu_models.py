"""The GPUs of all nodes by model, which the label `gpu.model` of a node names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connection

from clusters.models import Cluster, Node
from hypervisor.console.dashboard.capacity import ClusterNow, bar_of
from hypervisor.ui.charts import Bar
from hypervisor.ui.templatetags.blocks import number


@dataclass(frozen=True, slots=True)
class GpuModel:
    """The GPUs of one model; its name is empty for those of nodes without the label.

    `largest` is the most that are free on one node that takes deployments. `free_of` says which
    organizations have the free ones, those with the most first.
    """

    name: str
    nodes: int
    bar: Bar
    largest: int
    free_of: str


def gpu_models(clusters: Iterable[ClusterNow]) -> list[GpuModel]:
    """Return the models of all nodes, those with the most GPUs first; `clusters` are all clusters.

    What is reserved for a deployment that has waited too long is free here: it is recorded for a
    cluster, not for a node.
    """
    taking = [c.id for c in clusters if c.state == Cluster.State.ACTIVE and not c.lost]
    sql = """
        SELECT coalesce(n.labels ->> 'gpu.model', ''), o.name, count(*), sum(n.gpu),
               coalesce(sum(r.launched), 0), coalesce(sum(r.allocated - r.launched), 0),
               coalesce(max(n.gpu - coalesce(r.allocated, 0)) FILTER (
                   WHERE n.state = %(active)s AND n.cluster_id = ANY(%(taking)s)), 0)
        FROM clusters_node n
        JOIN clusters_cluster c ON c.id = n.cluster_id
        JOIN orgs_organization o ON o.id = c.organization_id
        LEFT JOIN (
            SELECT node_id, sum(gpu) AS allocated,
                   coalesce(sum(gpu) FILTER (WHERE launched_at IS NOT NULL), 0) AS launched
            FROM deployments_run WHERE released_at IS NULL AND gpu > 0 GROUP BY node_id
        ) r ON r.node_id = n.id
        WHERE n.gpu > 0 GROUP BY 1, o.id
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, {"active": Node.State.ACTIVE, "taking": taking})
        rows = cursor.fetchall()
    of_model: dict[str, list[_Part]] = {}
    for name, organization, *amounts in rows:
        of_model.setdefault(name, []).append(_Part(organization, *map(int, amounts)))
    models = [_model(name, parts) for name, parts in of_model.items()]
    return sorted(models, key=lambda model: (-model.bar.capacity, model.name))


class _Part(NamedTuple):
    """The GPUs of one model and one organization."""

    organization: str
    nodes: int
    capacity: int
    launched: int
    starting: int
    largest: int

    @property
    def free(self) -> int:
        return max(self.capacity - self.launched - self.starting, 0)


def _model(name: str, parts: Sequence[_Part]) -> GpuModel:
    amounts = (sum(column) for column in zip(*(part[2:5] for part in parts), strict=True))
    free = sorted(((part.free, part.organization) for part in parts if part.free), reverse=True)
    return GpuModel(
        name,
        sum(part.nodes for part in parts),
        bar_of("gpu", *amounts),
        max(0, *(part.largest for part in parts)),
        ", ".join(f"{number(count)} of {organization}" for count, organization in free),
    )
