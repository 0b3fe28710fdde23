"""Dry runs of changes: `?dry_run=true` carries out a call, rolls it back and shows what follows.

The call itself is carried out, with its validation, permissions, locks and conflicts. So a dry run
is refused exactly as the call would be, and no change needs a second description of its rules.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Protocol

from rest_framework.request import Request
from rest_framework.response import Response

from hypervisor.rest.parameters import StrictParametersMixin, flag
from orgs.tenancy import Person

PARAMETER = "dry_run"
FIELD = "preview"
"""The field that the answer of a dry run has besides those of the call's own answer."""


class TryOut(Protocol):
    def __call__(
        self, call: Callable[[], Response], user: Person
    ) -> tuple[Response, dict[str, Any]]:
        """Make the call and roll back what it does.

        Return its response, and what the next cycle would do if it were made, as far as the user
        may see it.
        """


_registered: list[TryOut] = []


def register(try_out: TryOut) -> None:
    """Let the app that plans carry out the dry runs, because this app cannot import it."""
    _registered[:] = [try_out]


class DryRunMixin(StrictParametersMixin):
    """A view whose actions in `dry_runs` take `?dry_run=true`."""

    dry_runs: ClassVar[Collection[str]] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.can_be_tried and flag(request, PARAMETER):
            method = str(request.method).lower()
            vars(self)[method] = partial(_tried, getattr(self, method))

    @property
    def can_be_tried(self) -> bool:
        return getattr(self, "action", None) in self.dry_runs

    def parameters_of(self, action: str) -> Sequence[str]:
        own = super().parameters_of(action)
        return (*own, PARAMETER) if action in self.dry_runs else own


def _tried(
    handler: Callable[..., Response], request: Request, *args: Any, **kwargs: Any
) -> Response:
    (try_out,) = _registered
    response, preview = try_out(partial(handler, request, *args, **kwargs), request.user)
    return Response({**(response.data or {}), FIELD: preview}, status=HTTPStatus.OK)
