from django.db import migrations

# Each such cluster has one node. The rows are locked in the order of their ids, as everywhere.
NAME_NODES = """
    WITH connected AS (
        SELECT x.id, x.cluster_id FROM clusters_connection x
        JOIN clusters_cluster c ON c.id = x.cluster_id
        WHERE c.driver = 'docker' AND x.node_id IS NULL
          AND 1 = (SELECT count(*) FROM clusters_node n WHERE n.cluster_id = c.id)
        ORDER BY x.id FOR NO KEY UPDATE OF x
    )
    UPDATE clusters_connection x SET node_id = n.id
    FROM connected, clusters_node n
    WHERE x.id = connected.id AND n.cluster_id = connected.cluster_id
"""


class Migration(migrations.Migration):
    """A Docker Engine runs the containers of one node: the only one of its cluster so far."""

    dependencies = [
        ('clusters', '0019_engines_of_nodes'),
    ]

    operations = [
        migrations.RunSQL(NAME_NODES, migrations.RunSQL.noop),
    ]
