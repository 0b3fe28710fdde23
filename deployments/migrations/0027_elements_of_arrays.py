import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    # Apart from the new table, which locks those that it refers to: a session that holds one of
    # these may wait for the deployments.

    dependencies = [
        ('deployments', '0026_arrays'),
    ]

    operations = [
        migrations.AddField(
            model_name='deployment',
            name='array_index',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='deployment',
            name='array',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='elements', to='deployments.array'),
        ),
    ]
