"""What an API server's refusals mean: who is to blame, and whether trying again can help."""

import json
import re
from collections.abc import Mapping
from typing import Any

from clusters.drivers.base import Cause, DriverError

_MISSING_RIGHT = re.compile(r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"')
_PASSING = re.compile(r"because it is being terminated|error looking up service account")
_BOUND = re.compile(r"(maximum|minimum) \S+ usage per (?:Container|Pod)")
_ENV_NAME = re.compile(r"env\[\d+\]\.name: ")
_LONGEST = 500

_REMEDIES = {
    frozenset({"maximum"}): "request less",
    frozenset({"minimum"}): "request more",
    frozenset({"maximum", "minimum"}): "request amounts within its bounds",
}


class Refused(DriverError):
    """The API server's answer was no; `status` is HTTP's, `reason` is Kubernetes' own word."""

    def __init__(
        self, message: str, *, status: int, reason: str, retriable: bool, cause: Cause
    ) -> None:
        super().__init__(message, retriable=retriable, cause=cause)
        self.status = status
        self.reason = reason


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """Return what this answer means. Only the API server's own sentence is quoted."""
    answer = _parsed(body)
    reason, said = str(answer.get("reason", "")), str(answer.get("message", ""))[:_LONGEST]
    message, retriable, cause = _meaning(status, said, headers.get("Retry-After", ""))
    return Refused(message, status=status, reason=reason, retriable=retriable, cause=cause)


def lacks(rights: str) -> str:
    return f"The service account lacks the right to {rights}: grant it, see docs/operating.md."


def _meaning(status: int, said: str, after: str) -> tuple[str, bool, Cause]:
    if status == 401:
        return _engines("The API server does not know us: the token or certificate has expired or"
                        " been revoked. Give the connection new credentials.")  # fmt: skip
    if status == 403:
        return _forbidden(said)
    if status == 404:
        return _engines(f"Not found: {said}")
    if status == 409:
        return _engines(f"Changed by somebody else at the same moment: {said}")
    if status in (400, 413, 422):
        return _invalid(said), False, Cause.INVALID_SPEC
    if status == 429:
        wait = f" Asked to wait for {after} seconds." if after else ""
        return _engines(f"The API server has too much to do.{wait}")
    return _engines(f"The API server answered {status}: {said or 'nothing'}")


def _invalid(said: str) -> str:
    if _ENV_NAME.search(said):
        return f"Kubernetes refuses the name of an environment variable, correct `env`: {said}"
    return f"The Pod is not accepted: {said}"


def _forbidden(said: str) -> tuple[str, bool, Cause]:
    """Tell a right that we lack from a bound of the namespace and from a rule of the cluster."""
    if right := _MISSING_RIGHT.search(said):
        return _engines(lacks(f"`{right['verb']}` `{right['resource']}`"))
    if "exceeded quota" in said:
        return (
            f"The namespace's quota has no room for it, request less or wait: {said}",
            True,
            Cause.OVER_CAPACITY,
        )
    if bounds := set(_BOUND.findall(said)):
        return (
            f"The namespace's LimitRange forbids it, {_REMEDIES[frozenset(bounds)]}: {said}",
            False,
            Cause.OVER_CAPACITY,
        )
    if _PASSING.search(said):
        return _engines(f"The namespace is not ready: {said}")
    return f"A rule of the Kubernetes cluster refuses it: {said}", False, Cause.INVALID_SPEC


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
