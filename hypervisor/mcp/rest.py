"""Calls of the REST API within the process, on behalf of the caller of another request.

The call passes through the view of its path, so tokens, roles, throttles, replays and errors are
those of the API. It has the headers of the caller's request, and the context of its audit trail.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.urls import resolve

from hypervisor.mcp import schemas
from hypervisor.mcp.results import Refused

_ROUTES = "hypervisor.api"


@dataclass(frozen=True, slots=True)
class Rest:
    """Makes calls for the caller of `request`."""

    request: HttpRequest

    def call(
        self,
        operation: str,
        arguments: Mapping[str, Any],
        *,
        body: Mapping[str, Any] | None = None,
        key: str = "",
    ) -> Any:
        """Make the call with this name in the document; return what it answers, or its text.

        `arguments` are parameters of the path and of the query. With a `key`, the call is made at
        most once. Raises Refused.
        """
        found = schemas.operation(operation)
        in_path = {name: arguments[name] for name in found.in_path}
        given = {name: value for name, value in arguments.items() if name not in in_path}
        _check(given, found.in_query)
        query = urlencode({name: _text(value) for name, value in given.items()}, doseq=True)
        environ = self._environ(found.method, found.path.format(**in_path), query, body)
        if key:
            environ["HTTP_IDEMPOTENCY_KEY"] = key
        response = _response(WSGIRequest(environ))
        text = response.content.decode(errors="replace")
        if response.status_code >= 400:
            raise Refused.by_api(json.loads(text), response.headers.get("Retry-After"))
        is_json = response.headers["Content-Type"].startswith("application/json")
        return json.loads(text) if is_json else text

    def _environ(
        self, method: str, path: str, query: str, body: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        content = b"" if body is None else json.dumps(body, sort_keys=True).encode()
        kept = {name: value for name, value in self.request.META.items() if _is_kept(name)}
        return kept | {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(content)),
            "HTTP_ACCEPT": "*/*",
            "wsgi.input": io.BytesIO(content),
        }


def _is_kept(name: str) -> bool:
    """Whether the call has this part of the caller's request: its key is for the request alone."""
    return isinstance(name, str) and name != "HTTP_IDEMPOTENCY_KEY"


def _response(request: WSGIRequest) -> HttpResponse:
    view = resolve(request.path_info, _ROUTES)
    response: Any = view.func(request, *view.args, **view.kwargs)
    return response.render() if hasattr(response, "render") else response  # type: ignore[no-any-return]


def _check(query: Mapping[str, Any], known: Mapping[str, schemas.Schema]) -> None:
    """Raise Refused for an object, and for a list if the parameter has one value.

    An empty one would leave the parameter out, so that a dry run would be the change itself.
    """
    problems = []
    for name, value in query.items():
        takes_list = known[name].get("type") == "array"
        if isinstance(value, Mapping) or (isinstance(value, list) and not takes_list):
            problems.append(f"{name}: Give a {'list of values' if takes_list else 'single value'}.")
    if problems:
        raise Refused("\n".join(problems))


def _text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_text(each) for each in value]
    return str(value).lower() if isinstance(value, bool) else value
