"""The rows that `migrate` leaves in an empty database: content types, permissions, periodic tasks.

After each test with transactions of its own, Django truncates every table and then makes these rows
again, as after a migration: hundreds of statements, and new files for all tables and indexes. Here
one statement deletes what the test has left and copies the rows back.
"""

from typing import Any

from django.db import connection
from django.test import TransactionTestCase

_RESTORE = """
    DO $$
    DECLARE name text;
    BEGIN
        -- Without triggers, which would check references and record the rows in the audit trail.
        SET LOCAL session_replication_role = replica;
        -- As TRUNCATE does, wait for transactions that the test has left open.
        LOCK TABLE {all};
        FOREACH name IN ARRAY ARRAY[{names}] LOOP
            EXECUTE format('DELETE FROM %I', name);
        END LOOP;
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'initial' LOOP
            EXECUTE format('INSERT INTO %I TABLE initial.%I', name, name);
        END LOOP;
    END $$
"""


def keep() -> None:
    """Copy the rows of the new database, and let every such test restore them."""
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS initial CASCADE; CREATE SCHEMA initial")
        for name in names:
            cursor.execute(f'CREATE TABLE initial."{name}" AS TABLE "{name}"')
            if not cursor.rowcount:
                cursor.execute(f'DROP TABLE initial."{name}"')
    statement = _RESTORE.format(
        all=", ".join(f'"{name}"' for name in names), names=", ".join(f"'{name}'" for name in names)
    )

    def restore(_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    TransactionTestCase._fixture_teardown = restore  # type: ignore[attr-defined]
