"""Helpers that read the API's responses."""

from typing import Any

ERROR_TYPES = {400: "validation_error", 401: "client_error", 403: "client_error",
               404: "client_error", 409: "client_error", 410: "client_error"}  # fmt: skip


def refusal(response: Any, status: int) -> dict[str, Any]:
    """Return the only error (`code`, `detail`, `attr`) of a refusal with this status."""
    assert response.status_code == status, response.data
    assert set(response.data) == {"type", "errors"}
    assert response.data["type"] == ERROR_TYPES[status]
    (error,) = response.data["errors"]
    assert set(error) == {"code", "detail", "attr"}
    return dict(error)


def attrs(response: Any) -> set[str]:
    """Return the fields that a 400 names."""
    assert response.status_code == 400, response.data
    return {error["attr"] for error in response.data["errors"]}


def ids(response: Any) -> list[int]:
    """Return the ids of a page."""
    assert response.status_code == 200, response.data
    assert set(response.data) == {"count", "next", "previous", "results"}
    return [row["id"] for row in response.data["results"]]
