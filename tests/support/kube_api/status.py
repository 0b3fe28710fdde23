"""Kubernetes' error responses."""

from typing import Any


class ApiError(Exception):
    def __init__(
        self, code: int, reason: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or {}
        self.status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }


def not_found(resource: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{resource} "{name}" not found')


def already_exists(name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'pods "{name}" already exists')


def conflict(name: str, why: str) -> ApiError:
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on pods "{name}": {why}')


def forbidden(message: str) -> ApiError:
    return ApiError(403, "Forbidden", message)


def invalid(name: str, path: str, why: str) -> ApiError:
    return ApiError(422, "Invalid", f'Pod "{name}" is invalid: {path}: {why}')


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def expired(version: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {version} ({oldest})")
