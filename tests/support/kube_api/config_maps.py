"""ConfigMaps; each change makes a version, which the next change may require."""

import copy
import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.support.kube_api.status import ApiError, not_found

Json = dict[str, Any]
Key = tuple[str, str]


@dataclass(slots=True)
class ConfigMaps:
    _maps: dict[Key, Json] = field(default_factory=dict)
    _versions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Key) -> Json:
        with self._lock:
            if key not in self._maps:
                raise not_found("configmaps", key[1])
            return copy.deepcopy(self._maps[key])

    def create(self, namespace: str, manifest: Json) -> Json:
        with self._lock:
            key = (namespace, manifest["metadata"]["name"])
            if key in self._maps:
                raise ApiError(409, "AlreadyExists", f'configmaps "{key[1]}" already exists')
            return self._write(key, manifest)

    def replace(self, key: Key, manifest: Json) -> Json:
        with self._lock:
            if key not in self._maps:
                raise not_found("configmaps", key[1])
            version = manifest["metadata"].get("resourceVersion")
            if version not in (None, self._maps[key]["metadata"]["resourceVersion"]):
                raise ApiError(
                    409, "Conflict", f'Operation cannot be fulfilled on configmaps "{key[1]}": the'
                    " object has been modified; please apply your changes to the latest version"
                    " and try again",
                )  # fmt: skip
            return self._write(key, manifest)

    def _write(self, key: Key, manifest: Json) -> Json:
        kept = copy.deepcopy(manifest)
        kept["metadata"] |= {"namespace": key[0], "resourceVersion": str(next(self._versions))}
        self._maps[key] = kept
        return copy.deepcopy(kept)
