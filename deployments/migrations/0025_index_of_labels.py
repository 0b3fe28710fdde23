import django.contrib.postgres.indexes
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # So that no session waits for the lock of the table meanwhile.
    atomic = False

    dependencies = [
        ('deployments', '0024_labels'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='deployment',
            index=django.contrib.postgres.indexes.GinIndex(condition=models.Q(('labels', {}), _negated=True), fields=['labels'], name='deployment_labels'),
        ),
    ]
