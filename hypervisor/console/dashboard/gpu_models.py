"""The GPUs of all nodes by model, which the label `gpu.model` of a node names."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection

from clusters.models import Cluster, Node
from hypervisor.console.dashboard.capacity import ClusterNow, bar_of
from hypervisor.ui.charts import Bar


@dataclass(frozen=True, slots=True)
class GpuModel:
    """The GPUs of one model; its name is empty for those of nodes without the label.

    `largest` is the most that are free on one node that takes deployments.
    """

    name: str
    nodes: int
    bar: Bar
    largest: int


def gpu_models(clusters: Iterable[ClusterNow]) -> list[GpuModel]:
    """Return the models of all nodes, those with the most GPUs first; `clusters` are all clusters.

    What is reserved for a deployment that has waited too long is free here: it is recorded for a
    cluster, not for a node.
    """
    taking = [c.id for c in clusters if c.state == Cluster.State.ACTIVE and not c.lost]
    sql = """
        SELECT coalesce(n.labels ->> 'gpu.model', ''), count(*), sum(n.gpu),
               coalesce(sum(r.launched), 0), coalesce(sum(r.allocated - r.launched), 0),
               coalesce(max(n.gpu - coalesce(r.allocated, 0)) FILTER (
                   WHERE n.state = %(active)s AND n.cluster_id = ANY(%(taking)s)), 0)
        FROM clusters_node n
        LEFT JOIN (
            SELECT node_id, sum(gpu) AS allocated,
                   coalesce(sum(gpu) FILTER (WHERE launched_at IS NOT NULL), 0) AS launched
            FROM deployments_run WHERE released_at IS NULL AND gpu > 0 GROUP BY node_id
        ) r ON r.node_id = n.id
        WHERE n.gpu > 0 GROUP BY 1 ORDER BY sum(n.gpu) DESC, 1
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, {"active": Node.State.ACTIVE, "taking": taking})
        return [
            GpuModel(name, nodes, bar_of("gpu", *map(int, amounts)), max(int(largest), 0))
            for name, nodes, *amounts, largest in cursor.fetchall()
        ]
