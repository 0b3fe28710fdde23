"""Query parameters, read strictly: an unknown, repeated or empty parameter is an error."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django_filters import Filter, MultipleChoiceFilter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView

from hypervisor.base.numbers import whole

PAGE = ("limit", "cursor", "offset")
"""The query parameters of a paginated list."""

_FLAGS = {"true": True, "false": False}


def flag(request: Request, name: str) -> bool:
    """Return whether the parameter is true; if it is missing, it is false.

    Some clients, such as Python's requests, write `True` and `False`.
    """
    text = request.query_params.get(name, "false").lower()
    if text not in _FLAGS:
        raise ValidationError({name: "Give true or false."})
    return _FLAGS[text]


def whole_number(request: Request, name: str, low: int, high: int) -> int | None:
    """Return the parameter, a whole number within the bounds, or None if it is missing."""
    text = request.query_params.get(name)
    if text is None:
        return None
    number = whole(text)
    if number is None or not low <= number <= high:
        raise ValidationError({name: f"Give a whole number from {low} to {high}."})
    return number


class StrictParametersMixin(APIView):
    """A view that refuses unknown query parameters, because `?dryrun=true` must not submit.

    A list takes filters, the parameters of pages and an ordering; the actions in `filtered` take
    the filters as well. `query_parameters` lists the other parameters of an action. Only the
    actions in `bodies` take a body. The action of a plain view is its method.
    """

    filtered: ClassVar[Sequence[str]] = ("list",)
    query_parameters: ClassVar[Mapping[str, Sequence[str]]] = {}
    bodies: ClassVar[Sequence[str]] = ("create", "update", "partial_update", "post")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not hasattr(self, str(request.method).lower()):
            return  # The response is 405 whatever else is wrong.
        action = getattr(self, "action", str(request.method).lower())
        self._check_parameters(request, action)
        if action and action not in self.bodies and request.data:
            raise ValidationError(
                "This call takes no body: send none. Parameters go into the query string."
            )

    def _check_parameters(self, request: Request, action: str) -> None:
        filters = self._filters() if action in self.filtered else {}
        lists = (*PAGE, "ordering") if action == "list" else ()
        known = sorted({*self.parameters_of(action), *lists, *filters})
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

    def parameters_of(self, action: str) -> Sequence[str]:
        """Return the parameters of an action besides those of lists and its filters."""
        return self.query_parameters.get(action, ())

    def _filters(self) -> Mapping[str, Filter]:
        filterset = getattr(self, "filterset_class", None)
        return filterset.base_filters if filterset else {}


def _problem(name: str, values: Sequence[str], known: Sequence[str], several: bool) -> str | None:
    if name not in known:
        remedy = f"The parameters are: {', '.join(known)}." if known else "This call takes none."
        return f"There is no such query parameter. {remedy}"
    if len(values) > 1 and not several:
        return f"This parameter appears {len(values)} times; give it once."
    if not all(values):
        return "This parameter is empty: give a value or omit it."
    if any("\ufffd" in value for value in values):
        return "This parameter is not valid UTF-8."
    return None
