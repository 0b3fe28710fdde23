from django.db import migrations

# The rows are locked in the order of their ids, as everywhere.
PUT_ON_NODES = [
    """
    WITH placed AS (
        SELECT id FROM deployments_deployment WHERE cluster_id IS NOT NULL AND node_id IS NULL
        ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE deployments_deployment d SET node_id = n.id
    FROM placed, clusters_node n
    WHERE d.id = placed.id AND n.cluster_id = d.cluster_id
    """,
    """
    WITH unfinished AS (
        SELECT id FROM deployments_run
        WHERE ended_at IS NULL AND cluster_id IS NOT NULL AND node_id IS NULL
        ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE deployments_run r SET node_id = n.id
    FROM unfinished, clusters_node n
    WHERE r.id = unfinished.id AND n.cluster_id = r.cluster_id
    """,
]


class Migration(migrations.Migration):
    """Active deployments and unfinished runs are on the only node of their cluster."""

    dependencies = [
        ('clusters', '0014_one_node_each'),
        ('deployments', '0015_nodes'),
    ]

    operations = [
        migrations.RunSQL(PUT_ON_NODES, migrations.RunSQL.noop),
    ]
