"""The digests of all simulated engines, whose containers are rows of one table."""

from datetime import datetime

from clusters.drivers import digests
from clusters.drivers.digests import Digest

_SQL = f"""
    SELECT cluster_id, {digests.uids(uid="uid", run="run_id")},
           coalesce(min(exits_at) > %s, true), min(exits_at)
    FROM clusters_simulatedcontainer GROUP BY cluster_id
"""  # noqa: S608


def read(now: datetime) -> dict[int, Digest]:
    """Return the digest of each engine that has containers, by the cluster's id."""
    return digests.read(_SQL, [now])
