"""The base of all views on rows that belong to organizations."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from accounts.idempotency import IdempotentMixin, Needed
from accounts.models import User
from hypervisor.rest.parameters import StrictParametersMixin
from orgs.dry_runs import DryRunMixin
from orgs.models import Role
from orgs.permissions import require
from orgs.tenancy import Person, TenantQuerySet

M = TypeVar("M", bound=Model)


class RepeatableMixin(IdempotentMixin):
    """A view whose POSTs may be repeated by a caller who still has the roles that they need."""

    def check_needed(self, user: User, needed: Iterable[Needed]) -> None:
        for organization_id, role in needed:
            require(user, organization_id, Role(role))


class TenantViewSet(DryRunMixin, RepeatableMixin, StrictParametersMixin, GenericViewSet[M]):
    """Shows a caller only rows of the caller's organizations; any other row is a 404.

    `roles` has the lowest role that each action needs; an action without an entry needs only a
    membership. `own_roles` has the lower role that suffices for rows that the caller owns. The
    actions in `dry_runs` take `?dry_run=true`.
    """

    roles: ClassVar[Mapping[str, Role]] = {}
    own_roles: ClassVar[Mapping[str, Role]] = {}
    lookup_value_regex = "[0-9]+"

    def get_queryset(self) -> QuerySet[M]:
        queryset = super().get_queryset()
        assert isinstance(queryset, TenantQuerySet)  # noqa: S101 an error in the view
        return queryset.visible_to(self.request.user)

    def get_object(self) -> M:
        """Return the row that the path names. Raises Forbidden if the caller's role is too low."""
        row = super().get_object()
        least = self.role_needed(self.action, row, self.request.user)
        if least is not Role.VIEWER:
            require(self.request.user, self.organization_id_of(row), least)
        return row

    def paginated(
        self, rows: QuerySet[Any], serializer_class: type[BaseSerializer[Any]]
    ) -> Response:
        """Return a page of rows of another model than the view's own."""
        page: Any = self.paginate_queryset(rows)
        return self.get_paginated_response(serializer_class(page, many=True).data)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        """Name the path of a new row in `Location`."""
        if self.action == "create" and response.status_code == HTTPStatus.CREATED:
            response.headers["Location"] = f"{request.path}/{response.data['id']}"
        return super().finalize_response(request, response, *args, **kwargs)

    def organization_id_of(self, obj: M) -> int:
        return int(obj.organization_id)  # type: ignore[attr-defined]

    @classmethod
    def role_needed(cls, action: str, row: M, user: Person) -> Role:
        """Return the lowest role with which the user may take the action on the row."""
        if action in cls.own_roles and cls.owner_id_of(row) == user.pk:
            return cls.own_roles[action]
        return cls.roles.get(action, Role.VIEWER)

    @classmethod
    def owner_id_of(cls, obj: M) -> int | None:  # noqa: ARG003 for subclasses
        return None


class SecretOnceMixin:
    """A view whose rows have a secret that only one response shows: a replay reads the row again.

    `_shown` returns the representation of a row, with the secret if it is given one.
    """

    def to_keep(self, data: Any) -> Any:
        return {"id": data["id"]} if "secret" in data else data

    def from_kept(self, data: Any) -> Any:
        if data.keys() != {"id"}:
            return data
        view: Any = self
        return view._shown(view.get_queryset().get(pk=data["id"]), None)
