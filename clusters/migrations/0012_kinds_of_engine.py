import clusters.drivers.kinds
from django.db import migrations, models


class Migration(migrations.Migration):
    """Django's state alone: no statement is sent to the database."""

    dependencies = [
        ('clusters', '0011_engine_marker'),
    ]

    operations = [
        migrations.AlterField(
            model_name='cluster',
            name='driver',
            field=models.CharField(choices=clusters.drivers.kinds.choices, default='simulated', max_length=20),
        ),
        migrations.AlterField(
            model_name='connection',
            name='network',
            field=models.CharField(choices=[('isolated', 'Isolated: the internet, but no other container'), ('none', 'None: no network at all')], default='isolated', help_text='Where it can be chosen.', max_length=10),
        ),
    ]
