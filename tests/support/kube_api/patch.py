"""Strategic merge patches, to the extent that Pods' metadata and plain maps need them."""

from typing import Any

from tests.support.kube_api import status

Json = dict[str, Any]

_DELETE = "$deleteFromPrimitiveList/"


def merge(target: Json, change: Json) -> None:
    """Apply the change: maps are merged, None removes, `finalizers` are a set, else replaced."""
    for key, value in change.items():
        if key.startswith(_DELETE):
            field = key.removeprefix(_DELETE)
            target[field] = [item for item in target.get(field, []) if item not in value]
        elif value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        elif key == "finalizers":
            target[key] = [
                *target.get(key, []),
                *(v for v in value if v not in target.get(key, [])),
            ]
        else:
            target[key] = value


def apply(pod: Json, change: Json) -> None:
    """Patch the Pod. Raises ApiError if the patch changes an immutable field."""
    spec, meta = repr(pod["spec"]), pod["metadata"]
    kept = {key: meta.get(key) for key in ("name", "namespace", "uid", "deletionTimestamp")}
    finalizers = set(meta.get("finalizers", ()))
    wanted = change.get("metadata", {}).get("resourceVersion")
    if wanted is not None and wanted != meta["resourceVersion"]:
        raise status.conflict(meta["name"], "the object has been modified")
    merge(pod, change)
    if repr(pod["spec"]) != spec:
        raise status.invalid(meta["name"], "spec", "Forbidden: pod updates may not change fields")
    if kept != {key: meta.get(key) for key in kept}:
        raise status.invalid(meta["name"], "metadata", "field is immutable")
    if "deletionTimestamp" in meta and set(meta.get("finalizers", ())) - finalizers:
        raise status.invalid(
            meta["name"], "metadata.finalizers", "Forbidden: no new finalizers can be added if the"
            " object is being deleted")  # fmt: skip
