"""Which engines need no pass, found for many engines with few statements.

A kind of engine may summarize the containers of all its engines (`Kind.digests`). An engine whose
digest equals that of its runs has nothing for a pass to do before the first of them ends.
"""

from datetime import datetime

from clusters.drivers import digests
from clusters.drivers.base import Cause
from clusters.drivers.digests import Digest
from clusters.drivers.kinds import KINDS, kind_of
from deployments.runtime import orphans

_LEDGER = f"""
    SELECT r.cluster_id, {digests.uids(uid="r.container_uid", run="r.id")},
           bool_and(
               r.launched_at IS NOT NULL AND r.started_at IS NOT NULL AND r.released_at IS NULL
               AND d.status_code <> %s
           ),
           min(r.started_at + d.max_runtime_s * interval '1 second')
    FROM deployments_run r
    JOIN deployments_deployment d ON d.id = r.deployment_id
    JOIN clusters_cluster c ON c.id = r.cluster_id
    WHERE r.ended_at IS NULL AND c.driver = %s
    GROUP BY r.cluster_id
"""  # noqa: S608


def settled(now: datetime) -> dict[int, datetime | None]:
    """Return the clusters whose engines need no pass now, and when each needs the next one.

    None: when something changes. Clusters without unfinished runs are left out.
    """
    found: dict[int, datetime | None] = {}
    for name in KINDS:
        kind = kind_of(name)
        if kind.digests:
            # The ledger is read before the engines, as in a pass.
            ledger, containers = _ledger(name), kind.read_digests(now)
            found |= {
                cluster: _next_ending(runs, containers[cluster])
                for cluster, runs in ledger.items()
                if cluster in containers and _agree(runs, containers[cluster], now)
            }
    forgettable = orphans.forgettable(now).order_by()
    for cluster in forgettable.values_list("cluster", flat=True).distinct():
        found.pop(cluster, None)
    return found


def _ledger(driver: str) -> dict[int, Digest]:
    """Return the digest of the unfinished runs of each cluster of this kind, by its id.

    It is steady if each run only waits for the end of its running container (see `next_step`).
    """
    return digests.read(_LEDGER, [Cause.NODE_LOST, driver])


def _agree(runs: Digest, containers: Digest, now: datetime) -> bool:
    expired = runs.until is not None and runs.until <= now
    steady = runs.steady and containers.steady
    return steady and not expired and runs.uids == containers.uids


def _next_ending(runs: Digest, containers: Digest) -> datetime | None:
    return min((time for time in (runs.until, containers.until) if time), default=None)
