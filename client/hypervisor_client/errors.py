"""The errors that a caller of the client can expect; all of them are a ClientError."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ClientError(Exception):
    """What went wrong, and what to do about it."""


class Unreachable(ClientError):
    """The service gave no answer."""


class NotOne(ClientError):
    """A name fits no deployment or cluster, or several."""


@dataclass(frozen=True)
class Problem:
    """One entry of an error response: `code` is for programs, `attr` names the field at fault."""

    code: str
    detail: str
    attr: str | None

    def __str__(self) -> str:
        return f"{self.attr}: {self.detail}" if self.attr else self.detail


class ApiError(ClientError):
    """An error response, with its status, its problems, and the id of the request for operators."""

    def __init__(self, status: int, problems: list[Problem], request_id: str = "") -> None:
        super().__init__("\n".join(map(str, problems)))
        self.status = status
        self.problems = problems
        self.request_id = request_id

    @property
    def code(self) -> str:
        return self.problems[0].code if self.problems else ""


def problems_of(body: Any, status: int) -> list[Problem]:
    """Return the problems of an error's body, also of one that some proxy made."""
    errors = body.get("errors") if isinstance(body, dict) else None
    if not isinstance(errors, list) or not errors:
        return [Problem("unknown", f"The service answered with status {status}.", None)]
    return [
        Problem(str(e.get("code", "")), str(e.get("detail", "")), e.get("attr"))
        for e in errors
        if isinstance(e, dict)
    ]
