"""Who sees what: the one place that turns a person into a condition on rows."""

from collections.abc import Iterable
from typing import ClassVar, Self, TypeVar

from django.apps import apps
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import connection, models

from hypervisor.base.locks import LockingQuerySet

M = TypeVar("M", bound=models.Model)

Person = AbstractBaseUser | AnonymousUser


def id_of(user: Person) -> int:
    """Return the person's id; of one who is not logged in 0, which nobody has."""
    return user.pk or 0


class TenantQuerySet(LockingQuerySet[M]):
    """Rows that belong to organizations, `organization_path` away."""

    organization_path: ClassVar[str] = "organization_id"

    def visible_to(self, user: Person) -> Self:
        """Keep the rows of the organizations that the person is a member of."""
        mine = apps.get_model("orgs", "Membership").objects.filter(user_id=id_of(user))
        return self.filter(**{f"{self.organization_path}__in": mine.values("organization")})

    def protect(self, ids: Iterable[int]) -> set[int]:
        """Keep these rows from being deleted until the transaction ends; return which exist.

        Before a row is inserted that refers to them. It conflicts with a deletion alone: changes of
        the rows, and other insertions, go on. Locks are taken in the order of the ids.
        """
        table = connection.ops.quote_name(self.model._meta.db_table)
        sql = f"SELECT id FROM {table} WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"  # noqa: S608
        with connection.cursor() as cursor:
            cursor.execute(sql, [sorted(ids)])
            return {row[0] for row in cursor.fetchall()}
