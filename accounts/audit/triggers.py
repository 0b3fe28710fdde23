"""The audit trail: triggers that record changes to the columns that people set.

Triggers catch every change, whether it comes from a form, the API, a queryset's `update` or plain
SQL. The person and the request come from pghistory's context, which is sent to the database with
each statement.
"""

from typing import Any

import pgtrigger
from django.http import HttpRequest
from pghistory.middleware import HistoryMiddleware
from structlog.contextvars import get_contextvars

BY_A_PERSON = "nullif(current_setting('pghistory.context_metadata', true), '') IS NOT NULL"
"""A trigger's condition that is true while a request is being processed."""


class AuditMiddleware(HistoryMiddleware):
    """Send the caller, the path and the request's id to the database with each statement.

    A caller with a token is identified only later in the request, and is sent from then on.
    """

    def get_context(self, request: HttpRequest) -> dict[str, Any]:
        request_id = get_contextvars().get("request_id", "")
        return {**super().get_context(request), "request_id": request_id}


class _Record(pgtrigger.Trigger):
    """Write an entry with these columns; for secret columns only the fact that they changed."""

    when = pgtrigger.After

    def __init__(
        self,
        *,
        name: str,
        operation: pgtrigger.Operation,
        columns: tuple[str, ...],
        secrets: tuple[str, ...] = (),
        called: str = "''",
        condition: str = "",
    ) -> None:
        self._columns = columns
        self._secrets = secrets
        self._called = called
        super().__init__(
            name=name,
            operation=operation,
            condition=pgtrigger.Condition(condition) if condition else None,
        )

    def get_func(self, model: Any) -> str:
        label = model._meta.concrete_model._meta.label_lower
        secrets = ", ".join(
            f"CASE WHEN TG_OP = 'UPDATE' AND {_differs(name)} THEN '{name}' END"
            for name in self._secrets
        )
        return f"""
            PERFORM accounts_note_change(
                '{label}', TG_OP, coalesce(NEW.id, OLD.id), {self._called},
                CASE WHEN TG_OP <> 'INSERT' THEN {self._values("OLD")} END,
                CASE WHEN TG_OP <> 'DELETE' THEN {self._values("NEW")} END,
                array_remove(ARRAY[{secrets}]::text[], NULL)
            );
            RETURN NULL;
        """

    def _values(self, row: str) -> str:
        pairs = ", ".join(f"'{column}', {row}.{column}" for column in self._columns)
        return f"jsonb_build_object({pairs})"


def trail(
    *columns: str,
    secrets: tuple[str, ...] = (),
    called: str = "name",
    inserts: bool = True,
    unless: str = "",
) -> list[pgtrigger.Trigger]:
    """Return the triggers that record each change of these columns, each insert and each delete.

    An update of other columns costs nothing, because the trigger's `UPDATE OF` names these. For
    `secrets`, only the fact that they changed is recorded. `called` is the column with the row's
    name, "" if there is none. `unless` is a condition in SQL under which an update is not recorded.
    """
    watched = (*columns, *secrets)
    life = pgtrigger.Insert | pgtrigger.Delete if inserts else pgtrigger.Delete
    name = f"coalesce(NEW.{called}, OLD.{called})" if called else "''"
    differs = f"({' OR '.join(_differs(column) for column in watched)})"
    return [
        _Record(
            name="audit_change",
            operation=_updates(watched),
            columns=columns,
            secrets=secrets,
            called=name,
            condition=f"({differs} AND NOT ({unless}))" if unless else differs,
        ),
        _Record(name="audit_life", operation=life, columns=columns, called=name),
    ]


def trail_of_requests(*columns: str, when: str, called: str = "name") -> pgtrigger.Trigger:
    """Return a trigger that records a change of these columns only if a request makes it and the
    condition `when` is true. It is for columns that the product itself changes all the time.
    """
    differs = " OR ".join(_differs(column) for column in columns)
    return _Record(
        name="audit_steered",
        operation=_updates(columns),
        columns=columns,
        called=f"coalesce(NEW.{called}, OLD.{called})",
        condition=f"(({differs}) AND {when} AND {BY_A_PERSON})",
    )


def _differs(column: str) -> str:
    return f"OLD.{column} IS DISTINCT FROM NEW.{column}"


def _updates(columns: tuple[str, ...]) -> pgtrigger.Operation:
    return pgtrigger.UpdateOf(*columns)  # type: ignore[no-untyped-call]
