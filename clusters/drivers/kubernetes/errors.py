"""Translate an API server's refusals into causes, remedies, and whether a retry can succeed."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from clusters.drivers.base import Cause, DriverError

T = TypeVar("T")

FORBIDDEN = 403

_MISSING_RIGHT = re.compile(r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"')
_PASSING = re.compile(r"because it is being terminated|error looking up service account")
_NO_STORAGE_LIMIT = re.compile(r"must specify .*ephemeral-storage")
_NON_ROOT = re.compile(r"violates PodSecurity .*(runAsNonRoot != true|runAsUser=0)")
_BOUND = re.compile(r"(maximum|minimum) \S+ usage per (?:Container|Pod)")
_SECRET = re.compile(r'^Secret "')
_ENV_NAME = re.compile(r"env\[\d+\]\.name: ")
_LONGEST = 500

_REMEDIES = {
    frozenset({"maximum"}): "request less",
    frozenset({"minimum"}): "request more",
    frozenset({"maximum", "minimum"}): "request amounts within its bounds",
}


class Refused(DriverError):
    """The API server refused the call; `status` is the HTTP status, `reason` Kubernetes' code."""

    def __init__(
        self, message: str, *, status: int, reason: str, retriable: bool, cause: Cause
    ) -> None:
        super().__init__(message, retriable=retriable, cause=cause)
        self.status = status
        self.reason = reason


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """Return the error for this response. It quotes only the API server's own message."""
    answer = _parsed(body)
    reason, detail = str(answer.get("reason", "")), str(answer.get("message", ""))[:_LONGEST]
    message, retriable, cause = _meaning(status, detail, headers.get("Retry-After", ""))
    return Refused(message, status=status, reason=reason, retriable=retriable, cause=cause)


def unless_forbidden(ask: Callable[[], T]) -> T | None:
    """Return the response, None if the service account lacks the right."""
    try:
        return ask()
    except Refused as error:
        if error.status == FORBIDDEN:
            return None
        raise


def missing_right(rights: str) -> str:
    return (
        f"The service account is missing the right to {rights}: grant it as docs/operating.md"
        " describes."
    )


def _meaning(status: int, detail: str, after: str) -> tuple[str, bool, Cause]:
    if status == 401:
        return _engines(
            "The API server does not accept the credentials: the token or certificate has expired"
            " or been revoked. Give the connection new credentials."
        )
    if status == FORBIDDEN:
        return _forbidden(detail)
    if status == 404:
        return _engines(f"The API server could not find the object: {detail}")
    if status == 409:
        return _engines(f"Another client changed the object at the same time: {detail}")
    if status in (400, 413, 422):
        return _invalid(detail), False, Cause.INVALID_SPEC
    if status == 429:
        wait = f" It asks to wait for {after} seconds." if after else ""
        return _engines(f"The API server is overloaded.{wait}")
    return _engines(f"The API server responded with {status}: {detail or 'no message'}")


def _invalid(detail: str) -> str:
    if _ENV_NAME.search(detail):
        return f"Kubernetes refuses the name of an environment variable: correct `env`. ({detail})"
    if _SECRET.search(detail):
        return f"Kubernetes refuses the secrets of `env`: give fewer or shorter ones. ({detail})"
    return f"Kubernetes does not accept the Pod: correct the deployment. ({detail})"


def _forbidden(detail: str) -> tuple[str, bool, Cause]:
    """Distinguish a missing right, a bound of the namespace, and a rule of the cluster."""
    if right := _MISSING_RIGHT.search(detail):
        return _engines(missing_right(f"`{right['verb']}` `{right['resource']}`"))
    if "exceeded quota" in detail:
        return (
            f"It would exceed the namespace's quota: request less, or wait. ({detail})",
            True,
            Cause.OVER_CAPACITY,
        )
    if bounds := set(_BOUND.findall(detail)):
        return (
            f"The namespace's LimitRange forbids it: {_REMEDIES[frozenset(bounds)]}. ({detail})",
            False,
            Cause.OVER_CAPACITY,
        )
    if _PASSING.search(detail):
        return _engines(f"The namespace is not ready: {detail}")
    if _NO_STORAGE_LIMIT.search(detail):
        message = f"The namespace's quota requires a limit: set `ephemeral_storage_mib`. ({detail})"
        return message, False, Cause.INVALID_SPEC
    if _NON_ROOT.search(detail):
        message = (
            "The namespace allows no container to run as root: set `run_as` to the id of another"
            f" user. ({detail})"
        )
        return message, False, Cause.INVALID_SPEC
    return (
        f"A rule of the Kubernetes cluster forbids it: ask an operator about the rule. ({detail})",
        False,
        Cause.INVALID_SPEC,
    )


def _engines(message: str) -> tuple[str, bool, Cause]:
    return message, True, Cause.ENGINE_FAILED


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return {"message": body[:_LONGEST].decode(errors="replace")}
    return answer
