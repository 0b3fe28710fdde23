"""Check on the live database that the ledger, the runs and the history agree."""

from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from django.utils import timezone

CHECKS = {
    "oversubscribed node": """
        SELECT format('node %s (%s) of cluster %s: %s of %s millicores, %s of %s MiB, %s of %s GPU'
                      ' requested', n.id, n.name, n.cluster_id, sum(d.cpu_milli), n.cpu_milli,
                      sum(d.ram_mib), n.ram_mib, sum(d.gpu), n.gpu)
        FROM clusters_node n JOIN deployments_deployment d ON d.node_id = n.id
        WHERE d.status IN ('starting', 'running')
        GROUP BY n.id
        HAVING sum(d.cpu_milli) > n.cpu_milli OR sum(d.ram_mib) > n.ram_mib OR sum(d.gpu) > n.gpu
    """,
    "cluster whose capacity is not the sum of its nodes": """
        SELECT format('cluster %s (%s): %s millicores, %s MiB, %s GPU, its %s nodes %s, %s, %s',
                      c.id, c.name, c.cpu_milli, c.ram_mib, c.gpu, count(n), sum(n.cpu_milli),
                      sum(n.ram_mib), sum(n.gpu))
        FROM clusters_cluster c LEFT JOIN clusters_node n ON n.cluster_id = c.id
        GROUP BY c.id
        HAVING (sum(n.cpu_milli), sum(n.ram_mib), sum(n.gpu))
                IS DISTINCT FROM (c.cpu_milli, c.ram_mib, c.gpu)
    """,
    "node of an engine that belongs to several clusters": """
        SELECT format('node %s of engine %s: clusters %s', n.name, e.engine_id,
                      string_agg(n.cluster_id::text, ' and ' ORDER BY n.cluster_id))
        FROM clusters_connection e JOIN clusters_node n ON n.cluster_id = e.cluster_id
        WHERE e.reports_nodes
        GROUP BY e.engine_id, n.name HAVING count(*) > 1
    """,
    "deployment or run on no node of its cluster": """
        SELECT format('deployment %s is on cluster %s and on node %s', d.id, d.cluster_id,
                      coalesce(d.node_id::text, 'none'))
        FROM deployments_deployment d LEFT JOIN clusters_node n ON n.id = d.node_id
        WHERE d.cluster_id IS DISTINCT FROM n.cluster_id
        UNION ALL
        SELECT format('run %s of deployment %s is on cluster %s and on node %s', r.id,
                      r.deployment_id, r.cluster_id, coalesce(r.node_id::text, 'none'))
        FROM deployments_run r LEFT JOIN clusters_node n ON n.id = r.node_id
        WHERE r.ended_at IS NULL AND r.cluster_id IS DISTINCT FROM n.cluster_id
    """,
    "run open for a deployment that is not active": """
        SELECT format('run %s of deployment %s, which is %s', r.id, d.id, d.status)
        FROM deployments_run r JOIN deployments_deployment d ON d.id = r.deployment_id
        WHERE r.released_at IS NULL AND d.status NOT IN ('starting', 'running')
    """,
    "active deployment without a run of its own": """
        SELECT format('deployment %s is %s on cluster %s', d.id, d.status, d.cluster_id)
        FROM deployments_deployment d
        WHERE d.status IN ('starting', 'running') AND NOT EXISTS (
            SELECT FROM deployments_run r
            WHERE r.deployment_id = d.id AND r.released_at IS NULL
              AND (r.cluster_id, r.node_id) = (d.cluster_id, d.node_id)
              AND (r.cpu_milli, r.ram_mib, r.gpu) = (d.cpu_milli, d.ram_mib, d.gpu))
    """,
    "container that no cluster would end": """
        SELECT format('run %s of deployment %s, released but on no cluster', r.id, r.deployment_id)
        FROM deployments_run r
        WHERE r.released_at IS NOT NULL AND r.ended_at IS NULL AND r.cluster_id IS NULL
    """,
    "stopping deployment whose run has ended": """
        SELECT format('deployment %s is stopping, and its newest run %s has ended', d.id, r.id)
        FROM deployments_deployment d LEFT JOIN LATERAL (
            SELECT id, ended_at FROM deployments_run
            WHERE deployment_id = d.id ORDER BY id DESC LIMIT 1
        ) r ON true
        WHERE d.status = 'stopping' AND (r.id IS NULL OR r.ended_at IS NOT NULL)
    """,
    "GPU allocated to two runs at once": """
        SELECT format('GPU %s of node %s of cluster %s: runs %s', device, r.node_id, r.cluster_id,
                      string_agg(r.id::text, ' and ' ORDER BY r.id))
        FROM deployments_run r, jsonb_array_elements_text(r.devices) AS device
        WHERE r.ended_at IS NULL
        GROUP BY r.cluster_id, r.node_id, device HAVING count(*) > 1
    """,
    "status that contradicts the last event": """
        SELECT format('deployment %s is %s, but its last event has status %s', d.id, d.status,
                      coalesce(e.status, 'none'))
        FROM deployments_deployment d LEFT JOIN LATERAL (
            SELECT status FROM orgs_event e
            WHERE e.subject = 'deployment' AND e.subject_id = d.id AND e.status IS NOT NULL
            ORDER BY e.id DESC LIMIT 1
        ) e ON true
        WHERE d.status IS DISTINCT FROM e.status
          AND NOT (e.status IS NULL AND coalesce(d.finished_at < {events}, false))
    """,
    "deployment on hold that is not pending": """
        SELECT format('deployment %s is %s and on hold', d.id, d.status)
        FROM deployments_deployment d
        WHERE d.held AND d.status IN ('starting', 'running', 'stopping')
    """,
    "running deployment that never started": """
        SELECT format('deployment %s runs since %s, its run %s since %s', d.id,
                      coalesce(d.started_at::text, 'never'), r.id,
                      coalesce(r.started_at::text, 'never'))
        FROM deployments_deployment d
        JOIN deployments_run r ON r.deployment_id = d.id AND r.released_at IS NULL
        WHERE d.status = 'running' AND (d.started_at IS NULL OR r.started_at IS NULL)
    """,
    "times that contradict each other": """
        SELECT format('run %s of deployment %s: placed %s, launched %s, started %s, released %s,'
                      ' ended %s', r.id, r.deployment_id, r.placed_at, r.launched_at, r.started_at,
                      r.released_at, r.ended_at)
        FROM deployments_run r
        WHERE least(r.launched_at, r.started_at, r.released_at, r.ended_at)
                < r.placed_at - interval '1 minute'
           OR r.ended_at < r.released_at - interval '1 minute'
    """,
    "time in the future": """
        SELECT format('run %s of deployment %s, unfinished: placed %s, launched %s, started %s,'
                      ' released %s', r.id, r.deployment_id, r.placed_at, r.launched_at,
                      r.started_at, r.released_at)
        FROM deployments_run r
        WHERE r.ended_at IS NULL AND greatest(r.placed_at, r.launched_at, r.started_at,
            r.released_at) > {now} + interval '2 minutes'
        UNION ALL
        SELECT format('deployment %s, pending: ready after %s, preemption suspended until %s', d.id,
                      d.ready_after, d.set_aside_until)
        FROM deployments_deployment d
        WHERE d.status = 'pending'
          AND greatest(d.ready_after, d.set_aside_until) > {now} + interval '62 minutes'
    """,
    "deployment on a cluster of another organization": """
        SELECT format('deployment %s on cluster %s', d.id, c.id)
        FROM deployments_deployment d
        JOIN clusters_cluster c ON c.id IN (d.cluster_id, d.requested_cluster_id)
        WHERE c.organization_id <> d.organization_id
    """,
    "deployment on a cluster where it may not run": """
        SELECT format('deployment %s is on cluster %s but may run only on %s', d.id, d.cluster_id,
                      d.requested_cluster_id)
        FROM deployments_deployment d
        WHERE d.cluster_id <> d.requested_cluster_id
    """,
    "dependencies that form a circle": """
        WITH RECURSIVE path(start, id) AS (
            SELECT deployment_id, on_id FROM deployments_dependency
            UNION
            SELECT p.start, d.on_id FROM path p JOIN deployments_dependency d
                ON d.deployment_id = p.id
        )
        SELECT format('deployment %s waits for itself', start) FROM path WHERE start = id
    """,
}


def violations() -> Iterator[str]:
    """Yield a sentence for each violation.

    All checks run in one statement, so that they see the same moment.
    """
    # The later of the database's clock and this process's: a time ahead of both is wrong.
    now = f"greatest(now(), timestamptz '{timezone.now().isoformat()}')"
    events = f"now() - interval '{settings.EVENT_HISTORY_DAYS} days'"  # older ones are deleted
    checks = (
        f"SELECT '{name}', m FROM ({sql.replace('{now}', now).replace('{events}', events)}) AS t(m)"  # noqa: S608
        for name, sql in CHECKS.items()
    )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(checks))
        yield from (f"{name}: {message}" for name, message in cursor.fetchall())
