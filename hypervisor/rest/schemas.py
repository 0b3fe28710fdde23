"""What the OpenAPI document says about serializers and their fields."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, TypeVar

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer

BODY, CHANGE, ANSWER = "Body", "Change", "Answer"
"""The names of examples."""

NAME = "x-name"
"""The key of a part of a field's schema that becomes a component with this name in the document, so
that generated clients have a type of that name."""

S = TypeVar("S")


class Described:
    """A field whose schema differs between the body of a request and an answer.

    `keys` are those of the object that it takes, if it takes one of fixed keys.
    """

    keys: ClassVar[Collection[str]] = ()
    body_schema: ClassVar[Mapping[str, Any]]
    answer_schema: ClassVar[Mapping[str, Any]]


def example(
    *, body: Any = None, change: Any = None, answer: Any = None, **answers: Any
) -> Callable[[type[S]], type[S]]:
    """Give a serializer an example of each way in which calls use it.

    `body` is the body of a POST or PUT, `change` that of a PATCH, `answer` a row of a response, and
    `answers` are further ones by their names.
    """
    given = {BODY: body, CHANGE: change, ANSWER: answer, **answers}
    examples = [
        OpenApiExample(
            name,
            value,
            request_only=name in (BODY, CHANGE),
            response_only=name not in (BODY, CHANGE),
            status_codes=None if name in (BODY, CHANGE) else ["200", "201", "202"],
        )
        for name, value in given.items()
        if value is not None
    ]
    decorate: Callable[[type[S]], type[S]] = extend_schema_serializer(examples=examples)
    return decorate


def closed(name: str, properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    """Return the schema of an object whose properties are required unless they are optional."""
    required = [each for each in properties if each not in optional]
    return {
        NAME: name,
        "type": "object",
        "properties": dict(properties),
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }
