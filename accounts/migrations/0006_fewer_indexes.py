import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    # So that no session waits for the lock of a table meanwhile.
    atomic = False

    dependencies = [
        ('accounts', '0005_usernames_are_ascii'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    'DROP INDEX CONCURRENTLY IF EXISTS accounts_auditentry_actor_id_3237b29c',
                    'CREATE INDEX CONCURRENTLY accounts_auditentry_actor_id_3237b29c ON accounts_auditentry (actor_id)',
                ),
            ],
            [
                migrations.AlterField(
                model_name='auditentry',
                name='actor',
                field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            ],
        ),
    ]
