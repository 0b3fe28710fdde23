"""Secrets, which the garbage collector deletes when their owners are gone."""

import base64
import binascii
import copy
import itertools
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.kube_api import status
from tests.support.kube_api.status import ApiError

Json = dict[str, Any]
Key = tuple[str, str]

_KEY = re.compile(r"(?!\.$|\.\.)[-._a-zA-Z0-9]{1,253}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_OWNER = {"apiVersion", "kind", "name", "uid"}
_MOST = 1 << 20
_DOCKER = "kubernetes.io/dockerconfigjson"


@dataclass(slots=True)
class Secrets:
    """`owners` returns the uids of the Pods that exist.

    Unless `collects`, the garbage collector is behind, and deletes nothing.
    """

    owners: Callable[[], set[str]]
    collects: bool = True
    _secrets: dict[Key, Json] = field(default_factory=dict)
    _versions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, namespace: str, manifest: Json) -> Json:
        _check(manifest)
        with self._lock:
            self._collect()
            key = (namespace, manifest["metadata"]["name"])
            if key in self._secrets:
                raise ApiError(409, "AlreadyExists", f'secrets "{key[1]}" already exists')
            kept = copy.deepcopy(manifest)
            kept["metadata"] |= {
                "namespace": namespace, "resourceVersion": str(next(self._versions)),
            }  # fmt: skip
            self._secrets[key] = kept
            return copy.deepcopy(kept)

    def all(self) -> list[Json]:
        with self._lock:
            self._collect()
            return copy.deepcopy(list(self._secrets.values()))

    def values(self, namespace: str, name: str) -> dict[str, str] | None:
        """Return the decoded values of a Secret as a kubelet reads them, None if there is none."""
        with self._lock:
            self._collect()
            found = self._secrets.get((namespace, name))
        if found is None:
            return None
        return {k: base64.b64decode(v).decode() for k, v in found.get("data", {}).items()}

    def delete(self, namespace: str, name: str) -> None:
        """Delete the Secret as `kubectl delete secret` does."""
        with self._lock:
            del self._secrets[namespace, name]

    def _collect(self) -> None:
        if not self.collects:
            return
        alive = self.owners()
        for key, secret in list(self._secrets.items()):
            owners = secret["metadata"].get("ownerReferences")
            if owners and not any(owner["uid"] in alive for owner in owners):
                del self._secrets[key]


def _check(manifest: Json) -> None:
    """Raise ApiError 400 or 422 for a manifest that is not a valid Secret."""
    if manifest.get("kind") != "Secret" or manifest.get("apiVersion") != "v1":
        raise status.bad_request("the object provided is unrecognized (must be of type Secret)")
    name = manifest["metadata"]["name"]
    if not _NAME.fullmatch(name):
        raise _invalid(name, f'metadata.name: Invalid value: "{name}"')
    for number, owner in enumerate(manifest["metadata"].get("ownerReferences", ())):
        if missing := sorted(_OWNER - set(owner)):
            path = f"metadata.ownerReferences[{number}].{missing[0]}"
            raise _invalid(name, f"{path}: Required value")
    values = {key: _decoded(text) for key, text in manifest.get("data", {}).items()}
    for key in values:
        if not _KEY.fullmatch(key):
            raise _invalid(name, f'data[{key}]: Invalid value: "{key}": a valid config key')
    if sum(map(len, values.values())) > _MOST:
        raise _invalid(name, f"data: Too long: may not be more than {_MOST} bytes")
    if manifest.get("type") == _DOCKER:
        _check_docker_config(name, values)


def _check_docker_config(name: str, values: dict[str, bytes]) -> None:
    if ".dockerconfigjson" not in values:
        raise _invalid(name, "data[.dockerconfigjson]: Required value")
    try:
        json.loads(values[".dockerconfigjson"])
    except ValueError as error:
        raise _invalid(
            name,
            f'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": {error}',
        ) from error


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError) as error:
        raise status.bad_request(
            f"Secret in version v1 cannot be handled as a Secret: illegal base64 data: {error}"
        ) from error


def _invalid(name: str, why: str) -> ApiError:
    return ApiError(422, "Invalid", f'Secret "{name}" is invalid: {why}')
