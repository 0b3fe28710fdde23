"""How much of each cluster's capacity is allocated, reserved and free at this moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection

from clusters.models import DIMENSIONS

Amounts = tuple[int, ...]
"""Millicores, MiB and devices, in the order of DIMENSIONS."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One cluster; `lost` if an engine of it is out of contact."""

    id: int
    name: str
    organization_id: int
    organization: str
    state: str
    lost: bool
    running: int
    starting: int
    capacity: Amounts
    allocated: Amounts
    reserved: Amounts

    @property
    def free(self) -> Amounts:
        parts = zip(self.capacity, self.allocated, self.reserved, strict=True)
        return tuple(max(c - a - r, 0) for c, a, r in parts)


def read(reserved: Mapping[str, Mapping[str, int]]) -> list[Usage]:
    """Return every cluster, in the order of their ids.

    `reserved` is, by the cluster's id, the amounts reserved for a deployment that waits too long.
    """
    sums = ", ".join(
        f"coalesce(sum(r.{name}) FILTER (WHERE r.launched_at IS {launched} NULL), 0)::bigint"
        for launched in ("NOT", "")
        for name in DIMENSIONS
    )
    sql = f"""
        SELECT c.id, c.name, o.id, o.name, c.state,
               EXISTS (SELECT FROM clusters_connection n
                       WHERE n.cluster_id = c.id AND n.lost_contact_at IS NOT NULL),
               count(r.started_at), count(r.id) - count(r.started_at),
               c.cpu_milli, c.ram_mib, c.gpu, {sums}
        FROM clusters_cluster c
        JOIN orgs_organization o ON o.id = c.organization_id
        LEFT JOIN deployments_run r ON r.cluster_id = c.id AND r.released_at IS NULL
        GROUP BY c.id, o.id ORDER BY c.id
    """  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [_usage(reserved.get(str(row[0]), {}), *row) for row in cursor.fetchall()]


def _usage(reservation: Mapping[str, int], *row: Any) -> Usage:
    about, capacity, allocated, unlaunched = row[:8], row[8:11], row[11:14], row[14:17]
    free = [max(c - a - u, 0) for c, a, u in zip(capacity, allocated, unlaunched, strict=True)]
    reserved = tuple(
        u + min(reservation.get(dimension, 0), f)
        for dimension, u, f in zip(DIMENSIONS, unlaunched, free, strict=True)
    )
    return Usage(*(*about, capacity, allocated, reserved))
