"""Query parameters, read one strict way: what is unknown, repeated or empty is an error."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django_filters import Filter, MultipleChoiceFilter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView

from hypervisor.base.numbers import whole

PAGE = ("limit", "cursor", "offset")
"""The query parameters of a list in pages."""

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def flag(request: Request, name: str) -> bool:
    """Return whether the parameter says true; without it, false."""
    text = request.query_params.get(name, "false").lower()
    if text not in _FLAGS:
        raise ValidationError({name: "Give true or false."})
    return _FLAGS[text]


def whole_number(request: Request, name: str, low: int, high: int) -> int | None:
    """Return the parameter's whole number within the bounds, None when it is not given."""
    text = request.query_params.get(name)
    if text is None:
        return None
    number = whole(text)
    if number is None or not low <= number <= high:
        raise ValidationError({name: f"Give a whole number from {low} to {high}."})
    return number


class StrictParametersMixin(APIView):
    """A view that names what it does not know: `?dryrun=true` must not submit in earnest.

    A list takes its filters, pages and an ordering, and the actions of `filtered` take the filters
    too; `query_parameters` says what else an action takes. Only the actions of `bodies` take a
    body. The action of a plain view is its method.
    """

    filtered: ClassVar[Sequence[str]] = ("list",)
    query_parameters: ClassVar[Mapping[str, Sequence[str]]] = {}
    bodies: ClassVar[Sequence[str]] = ("create", "update", "partial_update", "post")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not hasattr(self, str(request.method).lower()):
            return  # Answered with 405, whatever comes with it.
        action = getattr(self, "action", str(request.method).lower())
        self._check_parameters(request, action)
        if action and action not in self.bodies and request.data:
            raise ValidationError(
                "This call takes no body: leave it out. Parameters go into the query string."
            )

    def _check_parameters(self, request: Request, action: str) -> None:
        filters = self._filters() if action in self.filtered else {}
        lists = (*PAGE, "ordering") if action == "list" else ()
        known = sorted({*self.query_parameters.get(action, ()), *lists, *filters})
        several = {name for name, item in filters.items() if isinstance(item, MultipleChoiceFilter)}
        errors = {
            name: problem
            for name, values in request.query_params.lists()
            if (problem := _problem(name, values, known, name in several))
        }
        if unknown := {name: error for name, error in errors.items() if name not in known}:
            raise ValidationError(unknown, code="unknown_parameter")
        if errors:
            raise ValidationError(errors)

    def _filters(self) -> Mapping[str, Filter]:
        filterset = getattr(self, "filterset_class", None)
        return filterset.base_filters if filterset else {}


def _problem(name: str, values: Sequence[str], known: Sequence[str], several: bool) -> str | None:
    if name not in known:
        remedy = f"There are: {', '.join(known)}." if known else "This call takes none."
        return f"There is no such query parameter. {remedy}"
    if len(values) > 1 and not several:
        return f"This parameter is given {len(values)} times; give it once."
    if not all(values):
        return "This parameter is empty: give a value or leave it out."
    if any("\ufffd" in value for value in values):
        return "This parameter is not valid UTF-8."
    return None
