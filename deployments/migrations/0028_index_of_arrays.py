from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # So that no session waits for the lock of the table meanwhile.
    atomic = False

    dependencies = [
        ('deployments', '0027_elements_of_arrays'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='deployment',
            index=models.Index(condition=models.Q(('array__isnull', False)), fields=['array', 'status'], name='deployment_of_array'),
        ),
    ]
