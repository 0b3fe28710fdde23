from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # So that no session waits for the lock of the table meanwhile.
    atomic = False

    dependencies = [
        ('deployments', '0032_log_without_gaps'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='deployment',
            index=models.Index(condition=models.Q(('status', 'pending'), ('status_code__in', ('dependency_ended', 'exceeds_capacity', 'no_matching_node', 'requested_cluster_gone', 'no_cluster'))), fields=['organization', 'id'], name='deployment_never_starts'),
        ),
    ]
