import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    # So that no session waits for the lock of a table meanwhile.
    atomic = False

    dependencies = [
        ('orgs', '0003_invite_terms'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    'DROP INDEX CONCURRENTLY IF EXISTS orgs_event_organization_id_af1322ec',
                    'CREATE INDEX CONCURRENTLY orgs_event_organization_id_af1322ec ON orgs_event (organization_id)',
                ),
            ],
            [
                migrations.AlterField(
                model_name='event',
                name='organization',
                field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='orgs.organization'),
            ),
            ],
        ),
    ]
