from django.db import migrations

# As `nodes.NodeSpec.only` names it.
ADD_NODES = """
    INSERT INTO clusters_node (cluster_id, name, cpu_milli, ram_mib, gpu)
    SELECT c.id,
           coalesce(nullif(trim(BOTH '-' FROM left(trim(BOTH '-' FROM
               regexp_replace(lower(c.name), '[^a-z0-9]+', '-', 'g')), 63)), ''), 'node'),
           c.cpu_milli, c.ram_mib, c.gpu
    FROM clusters_cluster c
    WHERE NOT EXISTS (SELECT FROM clusters_node n WHERE n.cluster_id = c.id)
    ORDER BY c.id
    FOR SHARE OF c
"""


class Migration(migrations.Migration):
    """Every cluster becomes one node of its size.

    The rows are locked, because the former release may be resizing or deleting one of them: its
    trigger resizes the node only if it sees it.
    """

    dependencies = [
        ('clusters', '0013_nodes'),
    ]

    operations = [
        migrations.RunSQL(ADD_NODES, migrations.RunSQL.noop),
    ]
