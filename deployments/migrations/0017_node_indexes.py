from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # So that submissions go on meanwhile.
    atomic = False

    dependencies = [
        ('deployments', '0016_on_nodes'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='deployment',
            index=models.Index(condition=models.Q(('node__isnull', False)), fields=['node'], name='deployment_on_node'),
        ),
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(condition=models.Q(('node__isnull', False)), fields=['node'], name='run_on_node'),
        ),
    ]
