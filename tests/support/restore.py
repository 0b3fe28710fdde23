"""Put the database into the state of an older backup."""

from django.db import connection

from deployments.models import Deployment


def restored_without(deployment: Deployment) -> None:
    """Restore the state before the deployment was submitted, so that its ids are used again."""
    run = deployment.runs.get()
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # so that no trigger records it
        cursor.execute("DELETE FROM deployments_run WHERE id = %s", [run.pk])
        cursor.execute("DELETE FROM deployments_deployment WHERE id = %s", [deployment.pk])
        cursor.execute("SET session_replication_role = DEFAULT")
        for table, pk in (("deployments_run", run.pk), ("deployments_deployment", deployment.pk)):
            cursor.execute(f"ALTER SEQUENCE {table}_id_seq RESTART WITH {pk}")
