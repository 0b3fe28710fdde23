"""Visibility: the one place that turns a person into a condition on rows."""

from collections.abc import Iterable
from typing import Any, ClassVar, Self, TypeVar

from django.apps import apps
from django.db import connection, models

from hypervisor.base.locks import LockingQuerySet
from orgs.tokens.grants import Person as Person
from orgs.tokens.grants import grant_of

M = TypeVar("M", bound=models.Model)


def id_of(user: Person) -> int:
    """Return the person's id, or 0, which is no user's id, for a person who is not logged in."""
    return user.pk or 0


def memberships_of(user: Person) -> "models.QuerySet[Any]":
    """Return the person's memberships; with a token for one organization, only the one there."""
    rows = apps.get_model("orgs", "Membership").objects.filter(user_id=id_of(user))
    grant = grant_of(user)
    if grant is None or grant.organization is None:
        return rows
    return rows.filter(organization=grant.organization)


class TenantQuerySet(LockingQuerySet[M]):
    """Rows that belong to organizations; `organization_path` leads to the organization's id."""

    organization_path: ClassVar[str] = "organization_id"

    def visible_to(self, user: Person) -> Self:
        """Return the rows of the organizations that the person is a member of."""
        mine = memberships_of(user)
        return self.filter(**{f"{self.organization_path}__in": mine.values("organization")})

    def protect(self, ids: Iterable[int]) -> set[int]:
        """Prevent the deletion of these rows until the transaction ends; return those that exist.

        Call it before inserting a row that refers to them. It conflicts only with a deletion:
        updates of the rows and other inserts proceed. Locks are taken in the order of the ids.
        """
        table = connection.ops.quote_name(self.model._meta.db_table)
        sql = f"SELECT id FROM {table} WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"  # noqa: S608
        with connection.cursor() as cursor:
            cursor.execute(sql, [sorted(ids)])
            return {row[0] for row in cursor.fetchall()}
