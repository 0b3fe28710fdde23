"""Parsers of bodies, which refuse a body that does not have exactly one meaning."""

import math
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, QueryDict
from rest_framework import parsers
from rest_framework.exceptions import ParseError, ValidationError

from hypervisor.rest.documents import BadDocument, NotJSON, load


class StrictJSONParser(parsers.JSONParser):
    """JSON in UTF-8 without repeated keys and without values that cannot be stored."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        # Unlike `read`, `body` refuses a body of more than DATA_UPLOAD_MAX_MEMORY_SIZE.
        body = stream.body if isinstance(stream, HttpRequest) else stream.read()
        if len(body) > getattr((parser_context or {}).get("view"), "max_body", math.inf):
            raise RequestDataTooBig
        try:
            return load(body)
        except NotJSON as error:
            raise ParseError(str(error)) from error
        except BadDocument as error:
            problems = {path or "non_field_errors": why for path, why in error.problems.items()}
            raise ValidationError(problems) from error


class StrictFormParser(parsers.FormParser):
    """A URL-encoded form without repeated fields."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return _checked_form(super().parse(stream, media_type, parser_context))


class StrictMultiPartParser(parsers.MultiPartParser):
    """A multipart form without repeated fields."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        parts = super().parse(stream, media_type, parser_context)
        _checked_form(parts.data)
        return parts


def _checked_form(form: QueryDict) -> QueryDict:
    errors = {}
    for name, values in form.lists():
        if len(values) > 1:
            errors[name] = "This field appears more than once."
        elif any("\ufffd" in value for value in values if isinstance(value, str)):
            errors[name] = "This field is not valid UTF-8."
    if errors:
        raise ValidationError(errors)
    return form
