"""Triggers that keep nodes and connections right.

Some serve statements that do not know nodes. Such statements come from processes of the former
release, which run during an upgrade, and from an operator's SQL: they write a cluster's capacity or
a placement and leave out the node. A cluster of one node then keeps its node; for a cluster of
several nodes, the triggers change nothing, and `manage.py verify` reports what is missing.
"""

import pgtrigger

FOR_STATEMENTS_WITHOUT_NODES = (
    pgtrigger.Trigger(
        # At the end of the transaction, because `services.create` adds the nodes after the cluster.
        name="add_only_node",
        when=pgtrigger.After,
        operation=pgtrigger.Insert,
        timing=pgtrigger.Deferred,
        func="""
            INSERT INTO clusters_node (cluster_id, name, cpu_milli, ram_mib, gpu)
            SELECT c.id,
                   coalesce(nullif(trim(BOTH '-' FROM left(trim(BOTH '-' FROM
                       regexp_replace(lower(c.name), '[^a-z0-9]+', '-', 'g')), 63)), ''), 'node'),
                   c.cpu_milli, c.ram_mib, c.gpu
            FROM clusters_cluster c
            WHERE c.id = NEW.id
              AND NOT EXISTS (SELECT FROM clusters_node n WHERE n.cluster_id = c.id);
            RETURN NULL;
        """,
    ),
    pgtrigger.Trigger(
        name="resize_only_node",
        when=pgtrigger.After,
        operation=pgtrigger.UpdateOf("cpu_milli", "ram_mib", "gpu"),  # type: ignore[no-untyped-call]
        func="""
            UPDATE clusters_node n
            SET cpu_milli = NEW.cpu_milli, ram_mib = NEW.ram_mib, gpu = NEW.gpu
            WHERE n.cluster_id = NEW.id
              AND (n.cpu_milli, n.ram_mib, n.gpu) <> (NEW.cpu_milli, NEW.ram_mib, NEW.gpu)
              AND 1 = (SELECT count(*) FROM clusters_node WHERE cluster_id = NEW.id);
            RETURN NULL;
        """,
    ),
    pgtrigger.Trigger(
        name="delete_nodes",
        when=pgtrigger.Before,
        operation=pgtrigger.Delete,
        func="DELETE FROM clusters_node WHERE cluster_id = OLD.id; RETURN OLD;",
    ),
)
"""For clusters that are added, resized or deleted without their nodes."""

_ONLY_NODE = """
    NEW.node_id := (SELECT CASE WHEN count(*) = 1 THEN min(n.id) END
                    FROM clusters_node n WHERE n.cluster_id = NEW.cluster_id);
    RETURN NEW;
"""


def nodes_follow_clusters(*, inserts: bool) -> list[pgtrigger.Trigger]:
    """Return triggers for a model with `cluster` and `node`: a row has both or neither.

    If only the cluster is set, the node becomes the cluster's only one. With `inserts`, this
    applies to new rows as well.
    """
    without = "(NEW.cluster_id IS NULL) <> (NEW.node_id IS NULL)"
    left_behind = "OLD.cluster_id <> NEW.cluster_id AND OLD.node_id = NEW.node_id"
    changed = pgtrigger.UpdateOf("cluster_id")  # type: ignore[no-untyped-call]
    triggers = [_follows("node_follows_cluster", changed, f"({without} OR {left_behind})")]
    if inserts:
        triggers.append(_follows("node_of_cluster", pgtrigger.Insert, f"({without})"))
    return triggers


def _follows(name: str, operation: pgtrigger.Operation, condition: str) -> pgtrigger.Trigger:
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=operation,
        condition=pgtrigger.Condition(condition),
        func=_ONLY_NODE,
    )


ENGINES_OF_NODES = pgtrigger.Trigger(
    name="engines_of_nodes",
    when=pgtrigger.Before,
    operation=pgtrigger.Insert | pgtrigger.UpdateOf("cluster_id", "node_id"),  # type: ignore[no-untyped-call]
    func="""
        IF NEW.node_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM clusters_node n WHERE n.id = NEW.node_id AND n.cluster_id = NEW.cluster_id
        ) THEN
            RAISE EXCEPTION 'A connection and its node belong to different clusters.'
                USING ERRCODE = 'check_violation';
        END IF;
        IF EXISTS (
            SELECT FROM clusters_connection c
            WHERE c.cluster_id = NEW.cluster_id AND c.id <> NEW.id
              AND (c.node_id IS NULL) <> (NEW.node_id IS NULL)
        ) THEN
            RAISE EXCEPTION 'A cluster has one engine, or one for each node.'
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    """,
)
"""For connections: the engines of a cluster do not overlap. The writer has locked the cluster."""
