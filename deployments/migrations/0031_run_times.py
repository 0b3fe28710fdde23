from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # So that no session waits for the lock of the table meanwhile.
    atomic = False

    dependencies = [
        ('deployments', '0030_notices'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='deployment',
            index=models.Index(condition=models.Q(('finished_at__isnull', False), ('started_at__isnull', False)), fields=['organization', 'created_by', '-finished_at'], name='deployment_run_times'),
        ),
    ]
