import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    # So that no session waits for the lock of a table meanwhile.
    atomic = False

    dependencies = [
        ('orgs', '0004_fewer_indexes'),
        ('scheduling', '0011_lanes_and_leases'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    'DROP INDEX CONCURRENTLY IF EXISTS scheduling_schedulingcycle_organization_id_bac57976',
                    'CREATE INDEX CONCURRENTLY scheduling_schedulingcycle_organization_id_bac57976 ON scheduling_schedulingcycle (organization_id)',
                ),
            ],
            [
                migrations.AlterField(
                model_name='schedulingcycle',
                name='organization',
                field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='cycles', to='orgs.organization'),
            ),
            ],
        ),
    ]
