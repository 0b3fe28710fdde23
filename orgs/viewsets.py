"""The one base of every view on what belongs to an organization."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from accounts.idempotency import IdempotentMixin, Needed
from accounts.models import User
from hypervisor.rest.parameters import StrictParametersMixin
from orgs.models import Role
from orgs.permissions import require
from orgs.tenancy import TenantQuerySet

M = TypeVar("M", bound=Model)


class RepeatableMixin(IdempotentMixin):
    """A view whose POSTs may be repeated by a caller who still has the roles that they need."""

    def check_needed(self, user: User, needed: Iterable[Needed]) -> None:
        for organization_id, role in needed:
            require(user, organization_id, Role(role))


class TenantViewSet(RepeatableMixin, StrictParametersMixin, GenericViewSet[M]):
    """Shows a caller only what belongs to the caller's organizations: all else is a 404.

    `roles` says for each action which role it takes at least; one that is not listed takes any.
    `own_roles` says the same for what the caller owns, where that is less.
    """

    roles: ClassVar[Mapping[str, Role]] = {}
    own_roles: ClassVar[Mapping[str, Role]] = {}
    lookup_value_regex = "[0-9]+"

    def get_queryset(self) -> QuerySet[M]:
        queryset = super().get_queryset()
        assert isinstance(queryset, TenantQuerySet)  # noqa: S101 a view's mistake, not a caller's
        return queryset.visible_to(self.request.user)

    def get_object(self) -> M:
        """Return the row of this path. Raises Forbidden when the caller's role is too low."""
        row = super().get_object()
        least = self.roles.get(self.action, Role.VIEWER)
        if self.action in self.own_roles and self.owner_id_of(row) == self.request.user.pk:
            least = self.own_roles[self.action]
        if least is not Role.VIEWER:
            require(self.request.user, self.organization_id_of(row), least)
        return row

    def paginated(
        self, rows: QuerySet[Any], serializer_class: type[BaseSerializer[Any]]
    ) -> Response:
        """Answer with one page of rows that are not what this view is about."""
        page: Any = self.paginate_queryset(rows)
        return self.get_paginated_response(serializer_class(page, many=True).data)

    def organization_id_of(self, obj: M) -> int:
        return int(obj.organization_id)  # type: ignore[attr-defined]

    def owner_id_of(self, obj: M) -> int | None:
        return None
