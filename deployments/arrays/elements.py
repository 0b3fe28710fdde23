"""The rows of a new array's elements: equal but for their names and one variable each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from deployments import waiting
from deployments.arrays.models import Array
from deployments.models import Deployment
from hypervisor.base.errors import Invalid

INDEX, SIZE = "HV_INDEX", "HV_ARRAY_SIZE"
"""The variables that tell a container which element it is, and of how many."""

_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """An array to submit: how many elements, and how many of them may be active at once."""

    size: int
    at_once: int | None = None


def check(spec: ArraySpec, name: str, env: Mapping[str, Any], *, together: int) -> None:
    """Raise Invalid if there can be no such array.

    `together` is the number of elements of all arrays in the submission.
    """
    if together > settings.MAX_ARRAY_SIZE:
        raise Invalid(
            f"The arrays of one submission have at most {settings.MAX_ARRAY_SIZE:,} elements"
            f" (MAX_ARRAY_SIZE); this would make {together:,}: submit several smaller ones.",
            attr="array.size",
            code="too_many",
        )
    longest = _MAX_NAME - len(f"-{spec.size - 1}")
    if len(name) > longest:
        raise Invalid(
            f"The elements of this array are named after it, with `-` and their index: give a name"
            f" of at most {longest} characters.",
            attr="name",
        )
    for variable in (INDEX, SIZE):
        if variable in env:
            raise Invalid(
                f"{variable} is set for each element of an array: leave it out.",
                attr=f"env.{variable}",
            )


def elements_of(row: Deployment, array: Array) -> list[Deployment]:
    """Return the rows of the array's elements, of which the given one is the pattern."""
    fields = Deployment._meta.concrete_fields
    values = {field.attname: getattr(row, field.attname) for field in fields}
    values["array_id"] = array.pk
    beyond = _waits(array.at_once) if array.at_once else {}
    rows = []
    for index in range(array.size):
        values["name"] = f"{array.name}-{index}"
        values["array_index"] = index
        values["env"] = {**row.env, INDEX: str(index), SIZE: str(array.size)}
        if index == array.at_once:
            values |= beyond
        element = Deployment(*values.values())
        element.array = array
        rows.append(element)
    return rows


def _waits(at_once: int) -> dict[str, str]:
    found = waiting.beyond_limit(at_once)
    return {"status_code": found.code, "status_reason": found.reason}
