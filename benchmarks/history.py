"""Fill a database with the past of a long life: ended deployments with all that they leave behind.

The rows are inserted in SQL, because the service itself would take hours. They satisfy every
constraint and `manage.py verify`. The triggers are off: the audit trail gets rows of its own here.
"""

from dataclasses import dataclass

from psycopg import Connection


@dataclass(frozen=True, slots=True)
class History:
    """How many deployments of each kind an organization has.

    An ended deployment has a run and four events, and there is a cycle with a record for each. The
    ended ones are spread evenly over the last `days` days. An active one has the priority 99 and is
    alone on a slot of one core, 8 GiB and one GPU; the pending ones have lower priorities and fit
    on an empty cluster of the bench of reads. Each of them requests something different, or with
    `shapes` they are the elements of so many arrays, each with a request of its own. The last
    `minutes` have samples.
    """

    ended: int = 0
    pending: int = 0
    active: int = 0
    days: int = 30
    minutes: int = 7 * 24 * 60
    shapes: int = 0


_DEPLOYMENTS = """
    INSERT INTO deployments_deployment
        (organization_id, name, labels, image, command, env, priority, preemptible,
         on_dependency_failure, created_by_id, created_at, status, status_reason, status_code, held,
         cluster_id, node_id, preemptions, queued_at, placed_at, started_at, finished_at, exit_code,
         revision, cpu_milli, ram_mib, gpu)
    SELECT %(organization)s, 'past-' || n,
           jsonb_build_object('team', (ARRAY['vision', 'speech', 'text'])[1 + n %% 3],
                              'run', (n / 100)::text),
           'bench/none:' || n %% 100,
           '["python", "train.py", "--epochs", "20"]', '{"LEARNING_RATE": "0.001"}',
           CASE status WHEN 'running' THEN 99 ELSE 1 + n %% 98 END, true, 'wait',
           %(user)s, at, status,
           CASE status WHEN 'pending' THEN 'Waits for the next scheduling cycle.'
               WHEN 'failed' THEN 'Its container exited with code 1.'
               ELSE 'Its container exited with code 0.' END,
           CASE status WHEN 'pending' THEN 'submitted' ELSE status END, false,
           CASE status WHEN 'running' THEN cluster_id END,
           CASE status WHEN 'running' THEN node_id END, 0, at,
           CASE WHEN status <> 'pending' THEN at END,
           CASE WHEN status <> 'pending' THEN at + interval '1 second' END,
           CASE WHEN n <= %(ended)s THEN at + interval '20 minutes' END,
           CASE status WHEN 'failed' THEN 1 WHEN 'completed' THEN 0 END, 4,
           CASE status WHEN 'pending' THEN 1001 + shape * 69621 %% 7001 ELSE 1000 END,
           CASE status WHEN 'pending' THEN 8193 + shape * 48271 %% 100003 ELSE 8192 END,
           CASE status WHEN 'pending' THEN 1 + shape %% 8 ELSE 1 END
    FROM generate_series(1, %(ended)s + %(active)s + %(pending)s) n
    CROSS JOIN LATERAL (SELECT
        CASE WHEN n > %(ended)s + %(active)s THEN 'pending' WHEN n > %(ended)s THEN 'running'
             WHEN n %% 20 = 0 THEN 'failed' ELSE 'completed' END AS status,
        now() - interval '1 hour' - CASE WHEN n <= %(ended)s
            THEN interval '1 day' * %(days)s * (1 - n / %(ended)s::float)
            ELSE interval '1 ms' * (%(ended)s + %(active)s + %(pending)s - n) END AS at,
        CASE WHEN %(shapes)s > 0 THEN n %% %(shapes)s ELSE n END::bigint AS shape) past
    JOIN (SELECT id AS node_id, cluster_id, row_number() OVER (ORDER BY id) - 1 AS place,
                 count(*) OVER () AS places
          FROM clusters_node WHERE cluster_id IN (
              SELECT id FROM clusters_cluster WHERE organization_id = %(organization)s)
         ) node ON place = n %% places
    ORDER BY n
"""

_ARRAYS = """
    WITH made AS (
        INSERT INTO deployments_array (organization_id, name, size, created_by_id, created_at)
        SELECT %(organization)s, 'array-' || n, %(pending)s / %(shapes)s + 1, %(user)s, now()
        FROM generate_series(0, %(shapes)s - 1) n RETURNING id, name
    ), element AS (
        SELECT id, split_part(name, '-', 2)::integer AS n
        FROM deployments_deployment
        WHERE organization_id = %(organization)s AND name LIKE 'past-%%' AND status = 'pending'
    )
    UPDATE deployments_deployment d
    SET array_id = made.id, array_index = (n - %(ended)s - %(active)s - 1) / %(shapes)s
    FROM made, element
    WHERE d.id = element.id AND made.name = 'array-' || n %% %(shapes)s
"""

_RUNS = """
    INSERT INTO deployments_run
        (deployment_id, cluster_id, node_id, placed_at, launched_at, started_at, released_at,
         ended_at, outcome, exit_code, container_uid, cpu_milli, ram_mib, gpu)
    SELECT id, node.cluster_id, node.node_id, placed_at, placed_at, started_at, finished_at,
           finished_at, CASE status WHEN 'running' THEN '' ELSE status END, exit_code,
           gen_random_uuid(), cpu_milli, ram_mib, gpu
    FROM deployments_deployment d
    JOIN (SELECT id AS node_id, cluster_id, row_number() OVER (ORDER BY id) - 1 AS place,
                 count(*) OVER () AS places
          FROM clusters_node WHERE cluster_id IN (
              SELECT id FROM clusters_cluster WHERE organization_id = %(organization)s)
         ) node ON CASE WHEN d.node_id IS NULL THEN place = d.id %% places
                        ELSE node.node_id = d.node_id END
    WHERE organization_id = %(organization)s AND name LIKE 'past-%%' AND status <> 'pending'
    ORDER BY id
"""

_CONTAINERS = """
    INSERT INTO clusters_simulatedcontainer
        (cluster_id, run_id, uid, started_at, exit_code, stop_seconds)
    SELECT r.cluster_id, r.id, r.container_uid, r.started_at, 0, 0
    FROM deployments_run r JOIN deployments_deployment d ON d.id = r.deployment_id
    WHERE r.ended_at IS NULL AND d.organization_id = %(organization)s AND d.name LIKE 'past-%%'
"""

_EVENTS = """
    INSERT INTO orgs_event
        (organization_id, subject, subject_id, time, kind, actor, reason, status, data)
    SELECT organization_id, 'deployment', id, coalesce(at, queued_at), e.kind, e.actor, e.reason,
           e.status, e.data
    FROM deployments_deployment d
    CROSS JOIN LATERAL (VALUES
        (1, 'submitted', 'ada', '', 'pending', queued_at, '{}'::jsonb),
        (2, 'placed', 'system:scheduler', 'Fits into the free capacity of rack-1.', 'starting',
         placed_at, '{"code": "free_capacity", "cluster": 1, "node": 1}'),
        (3, 'running', 'system:engine', 'Its container runs.', 'running', started_at,
         '{"code": "running", "cluster": 1, "run": 1}'),
        (4, CASE WHEN finished_at IS NOT NULL THEN status END, 'system:engine', status_reason,
         status, finished_at, '{"code": "exited", "cluster": 1, "run": 1, "exit_code": 0}')
    ) e(number, kind, actor, reason, status, at, data)
    WHERE organization_id = %(organization)s AND name LIKE 'past-%%'
      AND e.kind IS NOT NULL AND e.at IS NOT NULL
    ORDER BY id, number
"""

_UNNUMBERED = """
    INSERT INTO orgs_unnumberedevent (event_id, organization_id)
    SELECT id, organization_id FROM orgs_event e WHERE organization_id = %(organization)s
        AND NOT EXISTS (SELECT FROM orgs_unnumberedevent WHERE event_id = e.id)
        AND NOT EXISTS (SELECT FROM orgs_eventnumber WHERE event_id = e.id)
"""

_CYCLES = """
    INSERT INTO scheduling_schedulingcycle
        (organization_id, trigger, started_at, snapshot_us, plan_us, apply_us, ready, placed,
         evicted, moved, left_pending, set_aside, record)
    SELECT organization_id, 'change', queued_at, 900, 1500, 2100, 1, 1, 0, 0, 0, 0,
           decode(repeat(md5(id::text), 16), 'hex')
    FROM deployments_deployment
    WHERE organization_id = %(organization)s AND name LIKE 'past-%%' AND finished_at IS NOT NULL
    ORDER BY id
"""

_ENTRIES = """
    INSERT INTO accounts_auditentry
        (time, actor_id, model, object_id, name, operation, before, after, via, request_id)
    SELECT queued_at, %(user)s, 'deployments.deployment', id, name, 'UPDATE', '{"priority": 50}',
           '{"priority": 60}', '/deployments/' || id, md5(id::text)
    FROM deployments_deployment
    WHERE organization_id = %(organization)s AND name LIKE 'past-%%' AND id %% 10 = 0
    ORDER BY id
"""

_CLUSTER_SAMPLES = """
    INSERT INTO scheduling_clustersample
        (cluster_id, time, cpu_milli, ram_mib, gpu, used_cpu_milli, used_ram_mib, used_gpu,
         held_cpu_milli, held_ram_mib, held_gpu)
    SELECT c.id, m, c.cpu_milli, c.ram_mib, c.gpu, c.cpu_milli / 2, c.ram_mib / 2, c.gpu, 0, 0, 0
    FROM generate_series(date_trunc('minute', now()) - interval '1 minute' * %(minutes)s,
                         date_trunc('minute', now()) - interval '1 minute', '1 minute') m
    CROSS JOIN clusters_cluster c WHERE c.organization_id = %(organization)s
"""

_SAMPLES = """
    INSERT INTO scheduling_sample
        (time, cpu_milli, ram_mib, gpu, used_cpu_milli, used_ram_mib, used_gpu, held_cpu_milli,
         held_ram_mib, held_gpu, placed, evicted, moved, failed, ended, thrashed, cycles, cycle_us,
         slowest_cycle_us, waits, ready, held_back, delayed, dependent, starving, longest_wait_s,
         inverted, overlooked, packed, packable, suspects)
    SELECT time, sum(cpu_milli), sum(ram_mib), sum(gpu), sum(used_cpu_milli), sum(used_ram_mib),
           sum(used_gpu), 0, 0, 0, 23, 3, 1, 1, 20, 0, 10, 45000, 9000,
           array(SELECT 1 + k %% 4 FROM generate_series(0, 45) k),
           (SELECT jsonb_object_agg(p, 3 + p %% 5) FROM generate_series(1, 99) p),
           4, 0, 0, 0, 700, 0, 0, 0.97, 1, '{}'
    FROM scheduling_clustersample GROUP BY time
"""

TABLES = (
    "deployments_deployment", "deployments_run", "orgs_event", "scheduling_schedulingcycle",
    "accounts_auditentry",
)  # fmt: skip


_BATCH = 1_000
_LIVES = (
    """INSERT INTO deployments_deployment
           (organization_id, name, image, command, env, priority, preemptible,
            on_dependency_failure, created_by_id, created_at, status, status_reason, status_code,
            held, preemptions, queued_at, revision, cpu_milli, ram_mib, gpu)
       SELECT %(organization)s, %(name)s, 'bench/none:1', '[]', '{}', 50, true, 'wait', %(user)s,
              now(), 'pending', '', 'submitted', false, 0, now(), 1, 1000, 1024, 1
       FROM generate_series(1, %(count)s)""",
    """UPDATE deployments_deployment d
       SET status = 'starting', cluster_id = n.cluster_id, node_id = n.id, placed_at = now(),
           revision = 2
       FROM (SELECT n.id, n.cluster_id FROM clusters_node n JOIN clusters_cluster c
                 ON c.id = n.cluster_id AND c.organization_id = %(organization)s LIMIT 1) n
       WHERE d.id = ANY(%(ids)s)""",
    """INSERT INTO deployments_run
           (deployment_id, cluster_id, node_id, cpu_milli, ram_mib, gpu, placed_at, outcome)
       SELECT id, cluster_id, node_id, cpu_milli, ram_mib, gpu, now(), ''
       FROM deployments_deployment WHERE id = ANY(%(ids)s)""",
    """UPDATE deployments_run SET launched_at = now(), container_uid = gen_random_uuid()
       WHERE deployment_id = ANY(%(ids)s)""",
    """INSERT INTO clusters_simulatedcontainer
           (cluster_id, run_id, uid, started_at, exit_code, stop_seconds)
       SELECT cluster_id, id, container_uid, now(), 0, 0
       FROM deployments_run WHERE deployment_id = ANY(%(ids)s)""",
    """UPDATE deployments_deployment SET status = 'running', started_at = now(), revision = 3
       WHERE id = ANY(%(ids)s)""",
    "UPDATE deployments_run SET started_at = now() WHERE deployment_id = ANY(%(ids)s)",
    """UPDATE deployments_deployment
       SET status = 'completed', cluster_id = NULL, node_id = NULL, finished_at = now(),
           revision = 4
       WHERE id = ANY(%(ids)s)""",
    """UPDATE deployments_run SET released_at = now(), outcome = 'completed'
       WHERE deployment_id = ANY(%(ids)s)""",
    "UPDATE deployments_run SET ended_at = now() WHERE deployment_id = ANY(%(ids)s)",
    """DELETE FROM clusters_simulatedcontainer WHERE run_id IN (
           SELECT id FROM deployments_run WHERE deployment_id = ANY(%(ids)s))""",
)
"""The statements that a deployment's life consists of, without its events and cycles."""


def churn(
    connection: "Connection[tuple[object, ...]]", count: int, *, organization: int, user: int
) -> None:
    """Let `count` deployments live and end, in batches, each statement in its own transaction."""
    for first in range(0, count, _BATCH):
        values: dict[str, object] = {
            "organization": organization, "user": user, "name": f"churn-{first}",
            "count": min(_BATCH, count - first),
        }  # fmt: skip
        connection.execute(_LIVES[0].encode(), values)
        ids = "SELECT array_agg(id) FROM deployments_deployment WHERE name = %(name)s"
        values["ids"] = (connection.execute(ids, values).fetchone() or [None])[0]
        for statement in _LIVES[1:]:
            connection.execute(statement.encode(), values)


def fill(
    connection: "Connection[tuple[object, ...]]", history: History, *, organization: int, user: int
) -> None:
    """Insert the rows for an organization with clusters, and bring the statistics up to date.

    The connection has to be in autocommit mode, because VACUUM runs in no transaction.
    """
    values = {
        "organization": organization, "user": user, "ended": history.ended,
        "pending": history.pending, "active": history.active, "days": history.days,
        "minutes": history.minutes, "shapes": history.shapes,
    }  # fmt: skip
    statements = (
        _DEPLOYMENTS, *([_ARRAYS] if history.shapes else []), _RUNS, _CONTAINERS, _EVENTS,
        _UNNUMBERED, _CYCLES, _ENTRIES, _CLUSTER_SAMPLES, _SAMPLES,
    )  # fmt: skip
    cursor = connection.cursor()
    cursor.execute("SET session_replication_role = replica")
    for statement in statements:
        cursor.execute(statement.encode(), values)
    cursor.execute("RESET session_replication_role")
    cursor.execute("VACUUM (ANALYZE)")
