import django.db.models.deletion
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

TABLES = ('deployments_deployment', 'deployments_run')
SETTINGS = (
    'fillfactor = 85, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,'
    ' autovacuum_analyze_scale_factor = 0.01'
)
NAMES = (
    'fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,'
    ' autovacuum_analyze_scale_factor'
)


class Migration(migrations.Migration):
    # So that no session waits for the lock of a table meanwhile.
    atomic = False

    dependencies = [
        ('clusters', '0022_can_limit_storage'),
        ('deployments', '0022_changes'),
        ('orgs', '0004_fewer_indexes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='deployment',
            index=models.Index(condition=models.Q(('cluster__isnull', False)), fields=['cluster'], name='deployment_on_cluster'),
        ),
        AddIndexConcurrently(
            model_name='deployment',
            index=models.Index(condition=models.Q(('requested_cluster__isnull', False)), fields=['requested_cluster'], name='deployment_for_cluster'),
        ),
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(condition=models.Q(('preempted_by__isnull', False)), fields=['preempted_by'], name='run_preempted_by'),
        ),
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    'DROP INDEX CONCURRENTLY IF EXISTS deployments_deployment_cluster_id_411c5741',
                    'CREATE INDEX CONCURRENTLY deployments_deployment_cluster_id_411c5741 ON deployments_deployment (cluster_id)',
                ),
            ],
            [
                migrations.AlterField(
                model_name='deployment',
                name='cluster',
                field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='deployments', to='clusters.cluster'),
            ),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    'DROP INDEX CONCURRENTLY IF EXISTS deployments_deployment_organization_id_c7e447d5',
                    'CREATE INDEX CONCURRENTLY deployments_deployment_organization_id_c7e447d5 ON deployments_deployment (organization_id)',
                ),
            ],
            [
                migrations.AlterField(
                model_name='deployment',
                name='organization',
                field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deployments', to='orgs.organization'),
            ),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    'DROP INDEX CONCURRENTLY IF EXISTS deployments_deployment_requested_cluster_id_6ed29bf3',
                    'CREATE INDEX CONCURRENTLY deployments_deployment_requested_cluster_id_6ed29bf3 ON deployments_deployment (requested_cluster_id)',
                ),
            ],
            [
                migrations.AlterField(
                model_name='deployment',
                name='requested_cluster',
                field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='requested_by', to='clusters.cluster'),
            ),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    'DROP INDEX CONCURRENTLY IF EXISTS deployments_run_preempted_by_id_baaeeae9',
                    'CREATE INDEX CONCURRENTLY deployments_run_preempted_by_id_baaeeae9 ON deployments_run (preempted_by_id)',
                ),
            ],
            [
                migrations.AlterField(
                model_name='run',
                name='preempted_by',
                field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='preempted_runs', to='deployments.deployment'),
            ),
            ],
        ),
        # Most updates of a row then stay on its page, and need no entries in the indexes. Vacuum
        # runs after a number of changes that does not grow with what has ended.
        migrations.RunSQL(
            [f'ALTER TABLE {table} SET ({SETTINGS})' for table in TABLES],
            [f'ALTER TABLE {table} RESET ({NAMES})' for table in TABLES],
        ),
    ]
