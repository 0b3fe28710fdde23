"""The audit trail: triggers that note what changes in the columns that people set.

Being triggers, they see a form, the API, a queryset's `update` and a line of SQL alike. The person
and the request come from pghistory's context, which is told to the database with each statement.
"""

from typing import Any

import pgtrigger
from django.http import HttpRequest
from pghistory.middleware import HistoryMiddleware
from structlog.contextvars import get_contextvars

BY_A_PERSON = "nullif(current_setting('pghistory.context_metadata', true), '') IS NOT NULL"
"""Holds, in a trigger's condition, while a request is answered."""


class AuditMiddleware(HistoryMiddleware):
    """Tell the database who asks, by which path, in which request; the person also when they are
    known only later, by their token."""

    def get_context(self, request: HttpRequest) -> dict[str, Any]:
        request_id = get_contextvars().get("request_id", "")
        return {**super().get_context(request), "request_id": request_id}


class _Note(pgtrigger.Trigger):
    """Write an entry with these columns; of secret ones only that they are others now."""

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
    *columns: str, secrets: tuple[str, ...] = (), called: str = "name", inserts: bool = True
) -> list[pgtrigger.Trigger]:
    """Return the triggers that note each change of these columns, and rows that come and go.

    An update of none of them costs nothing: they are named in the trigger's `UPDATE OF`. Of
    `secrets` it is noted that they changed, never to what. `called` is the column by which people
    know a row, "" for none.
    """
    watched = (*columns, *secrets)
    life = pgtrigger.Insert | pgtrigger.Delete if inserts else pgtrigger.Delete
    name = f"coalesce(NEW.{called}, OLD.{called})" if called else "''"
    return [
        _Note(
            name="audit_change",
            operation=_updates(watched),
            columns=columns,
            secrets=secrets,
            called=name,
            condition=f"({' OR '.join(_differs(column) for column in watched)})",
        ),
        _Note(name="audit_life", operation=life, columns=columns, called=name),
    ]


def note_by_a_person(*columns: str, when: str, called: str = "name") -> pgtrigger.Trigger:
    """Return a trigger that notes a change of these columns while a request is answered, where
    the condition `when` holds: of columns that the product itself changes all the time.
    """
    differs = " OR ".join(_differs(column) for column in columns)
    return _Note(
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
