"""Insert submitted deployments in one statement, whatever their number.

The rows are passed as JSON texts: Django would adapt each value of each row by itself, which takes
longer than all else that a large submission costs. What all rows share is passed once.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

from django.db import connection
from django.db.models import Field, JSONField

from deployments.choices import Status
from deployments.models import Deployment
from hypervisor.base import arrays, bounds
from hypervisor.base.bounds import Key
from hypervisor.base.stored import StoredFunction
from orgs.models import Event

LAST_ID = "SELECT last_value FROM deployments_deployment_id_seq"
"""The highest id that has been drawn, also by transactions that have not ended."""

_IDS = "SELECT id FROM new ORDER BY id"

_PROTECT_ORGANIZATIONS = (
    "SELECT id FROM orgs_organization WHERE id = ANY(%(organizations)s) ORDER BY id FOR KEY SHARE"
)
_PROTECT_CLUSTERS = (
    "SELECT id FROM clusters_cluster WHERE id = ANY(%(clusters)s) ORDER BY id FOR KEY SHARE"
)
_IF = f"""
    WHERE ({LAST_ID}) <= %(up_to)s
    AND cardinality(%(organizations)s::bigint[])
        = (SELECT count(*) FROM orgs_organization WHERE id = ANY(%(organizations)s))
    AND cardinality(%(clusters)s::bigint[])
        = (SELECT count(*) FROM clusters_cluster WHERE id = ANY(%(clusters)s))
"""  # noqa: S608
_EVENTS = f"""
    INSERT INTO orgs_event
        (organization_id, subject, subject_id, time, kind, actor, reason, status, data)
    SELECT organization_id, '{Event.Subject.DEPLOYMENT}', id, %(time)s, 'submitted', %(actor)s, '',
           '{Status.PENDING}', '{{}}'
    FROM new ORDER BY id
"""  # noqa: S608


_ARGUMENTS = {
    "shared": "json",
    "rows": "json",
    "settings": "text[]",
    "owners": "bigint[]",
    "organizations": "bigint[]",
    "clusters": "bigint[]",
    "up_to": "bigint",
    "actor": "text",
    "time": "timestamptz",
}


def _at_once() -> str:
    """Return the body of the function that submits: each statement sees what is committed by then.

    The locks are those of a submission in steps, in the same order.
    """
    locks = [bounds.LOCK, _PROTECT_ORGANIZATIONS, _PROTECT_CLUSTERS]
    locked = "".join(f"PERFORM {sql.removeprefix('SELECT')}; " for sql in locks)
    inserted = f"{_insert()} {_IF} RETURNING id, organization_id), noted AS ({_EVENTS}) {_IDS}"
    arguments = {name: f"${number}" for number, name in enumerate(_ARGUMENTS, 1)}
    return f"BEGIN {locked} RETURN QUERY {inserted}; END" % arguments


AT_ONCE = StoredFunction(
    "deployments_submit", ", ".join(_ARGUMENTS.values()), "SETOF bigint", _at_once
)


def insert(rows: Sequence[Deployment]) -> None:
    """Insert the rows, and set their ids."""
    _execute(f"{_insert()} RETURNING id) {_IDS}", rows, {})


def insert_at_once(
    rows: Sequence[Deployment], *, actor: str, limits: Sequence[Key], up_to: int
) -> bool:
    """Insert the rows and their events in one statement, which commits if no transaction is open.

    Do nothing, and return False, if the rows would get ids above `up_to`, if an organization or a
    requested cluster no longer exists, or if `migrate` has not yet added the function. The locks
    are held only while PostgreSQL works.
    """
    if not AT_ONCE.is_installed():
        return False
    parameters = {
        **bounds.lock_parameters(limits),
        "organizations": arrays.numbers({row.organization_id for row in rows}),
        "clusters": arrays.numbers({row.requested_cluster_id for row in rows} - {None}),
        "up_to": up_to - len(rows),
        "actor": actor,
        "time": rows[0].created_at,
    }
    marks = ", ".join(f"%({name})s" for name in _ARGUMENTS)
    return _execute(f"SELECT {AT_ONCE.name}({marks})", rows, parameters)


def _execute(sql: str, rows: Sequence[Deployment], parameters: Mapping[str, Any]) -> bool:
    """Set the ids that the last statement returns; return whether it returns any."""
    with connection.cursor() as cursor:
        cursor.execute(sql, {**_documents(rows), **parameters})
        ids = cursor.fetchall()
    for row, (pk,) in zip(rows, ids, strict=bool(ids)):
        row.pk = pk
        row._state.adding, row._state.db = False, connection.alias
    return bool(ids)


@cache
def _insert() -> str:
    """Return the beginning of a statement that inserts the rows as `new`."""
    quote = connection.ops.quote_name
    names = ", ".join(quote(str(field.column)) for field in _fields())
    table = quote(Deployment._meta.db_table)
    return (
        f"WITH new AS (INSERT INTO {table} ({names}) SELECT {names}"  # noqa: S608
        f" FROM json_populate_recordset(json_populate_record(NULL::{table}, %(shared)s), %(rows)s)"
    )


@cache
def _fields() -> "list[Field[Any, Any]]":
    return [field for field in Deployment._meta.concrete_fields if not field.primary_key]


def _documents(rows: Sequence[Deployment]) -> dict[str, str]:
    """Return as JSON the values that all rows share, and those of each row."""
    shared, columns = {}, {}
    stored = [vars(row) for row in rows]  # Django's attributes of foreign keys are slow.
    for field in _fields():
        values = list(map(itemgetter(field.attname), stored))
        if _are_one(field, values):
            shared[field.column] = values[0]
        else:
            columns[field.column] = values
    own = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    given = {"shared": shared, "rows": own or [{}] * len(rows)}
    return {name: json.dumps(value, default=datetime.isoformat) for name, value in given.items()}


def _are_one(field: "Field[Any, Any]", values: Sequence[Any]) -> bool:
    """Return whether all values are one in JSON as well, where 1, 1.0 and true differ."""
    first = values[0]
    is_plain = not first or not isinstance(field, JSONField)
    return is_plain and values.count(first) == len(values)
