import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):
    # The numbers of present events come in a migration of their own, because this one locks the
    # table of events until it commits.

    dependencies = [
        ('orgs', '0006_service_accounts'),
    ]

    operations = [
        migrations.CreateModel(
            name='EventCounter',
            fields=[
                ('organization', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='orgs.organization')),
                ('last_number', models.BigIntegerField()),
                ('deleted_to', models.BigIntegerField(db_default=0, default=0)),
            ],
            options={
                'ordering': ['organization'],
            },
        ),
        migrations.CreateModel(
            name='EventNumber',
            fields=[
                ('event', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='numbering', serialize=False, to='orgs.event')),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
                ('number', models.BigIntegerField()),
            ],
            options={
                'ordering': ['number'],
                'constraints': [models.UniqueConstraint(fields=('organization', 'number'), name='event_number_unique')],
            },
        ),
        migrations.CreateModel(
            name='UnnumberedEvent',
            fields=[
                ('event_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
            ],
            options={
                'ordering': ['event_id'],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='event',
            trigger=pgtrigger.compiler.Trigger(name='want_number', sql=pgtrigger.compiler.UpsertTriggerSql(func='\n            INSERT INTO orgs_unnumberedevent (event_id, organization_id)\n            SELECT id, organization_id FROM new_events;\n            RETURN NULL;\n        ', hash='ec6fbfa730783e93f17c647e96c1b42dfea87d44', level='STATEMENT', operation='INSERT', pgid='pgtrigger_want_number_e7c7f', referencing='REFERENCING NEW TABLE AS new_events ', table='orgs_event', when='AFTER')),
        ),
    ]
