"""Visibility: the one place that turns a person into a condition on rows."""

from collections.abc import Iterable
from typing import ClassVar, Self, TypeVar

from django.apps import apps
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import connection, models

from hypervisor.base.locks import LockingQuerySet

M = TypeVar("M", bound=models.Model)

Person = AbstractBaseUser | AnonymousUser


def id_of(user: Person) -> int:
    """Return the person's id, or 0, which is no user's id, for a person who is not logged in."""
    return user.pk or 0


class TenantQuerySet(LockingQuerySet[M]):
    """Rows that belong to organizations; `organization_path` leads to the organization's id."""

    organization_path: ClassVar[str] = "organization_id"

    def visible_to(self, user: Person) -> Self:
        """Return the rows of the organizations that the person is a member of."""
        mine = apps.get_model("orgs", "Membership").objects.filter(user_id=id_of(user))
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
