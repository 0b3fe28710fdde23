"""Strategic merge patches, to the extent that Pods' metadata, scheduling gates and plain maps need
them."""

from typing import Any

from tests.support.kube_api import status

Json = dict[str, Any]

_DELETE = "$deleteFromPrimitiveList/"
_MERGED_BY_NAME = {"schedulingGates"}


def merge(target: Json, change: Json) -> None:
    """Apply the change: maps are merged, None removes, `finalizers` are a set, lists of gates are
    merged by name, and everything else is replaced."""
    for key, value in change.items():
        if key.startswith(_DELETE):
            field = key.removeprefix(_DELETE)
            target[field] = [item for item in target.get(field, []) if item not in value]
        elif key in _MERGED_BY_NAME and isinstance(value, list):
            _merge_by_name(target, key, value)
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


def _merge_by_name(target: Json, key: str, changes: list[Json]) -> None:
    there = {item["name"]: item for item in target.get(key, [])}
    for change in changes:
        if change.get("$patch") == "delete":
            there.pop(change["name"], None)
        else:
            there[change["name"]] = there.get(change["name"], {}) | change
    target.pop(key, None)
    if there:
        target[key] = list(there.values())


def apply(pod: Json, change: Json) -> None:
    """Patch the Pod. Raises ApiError if the patch changes an immutable field."""
    spec, meta = repr(_fixed(pod["spec"])), pod["metadata"]
    gates = _gates(pod)
    kept = {key: meta.get(key) for key in ("name", "namespace", "uid", "deletionTimestamp")}
    finalizers = set(meta.get("finalizers", ()))
    wanted = change.get("metadata", {}).get("resourceVersion")
    if wanted is not None and wanted != meta["resourceVersion"]:
        raise status.conflict(meta["name"], "the object has been modified")
    merge(pod, change)
    if added := _gates(pod) - gates:
        raise status.invalid(
            meta["name"],
            "spec.schedulingGates",
            f"Forbidden: only deletion is allowed, not {added}",
        )
    if repr(_fixed(pod["spec"])) != spec:
        raise status.invalid(meta["name"], "spec", "Forbidden: pod updates may not change fields")
    if kept != {key: meta.get(key) for key in kept}:
        raise status.invalid(meta["name"], "metadata", "field is immutable")
    if "deletionTimestamp" in meta and set(meta.get("finalizers", ())) - finalizers:
        raise status.invalid(
            meta["name"], "metadata.finalizers", "Forbidden: no new finalizers can be added if the"
            " object is being deleted")  # fmt: skip


def _fixed(spec: Json) -> Json:
    return {key: value for key, value in spec.items() if key != "schedulingGates"}


def _gates(pod: Json) -> set[str]:
    return {gate["name"] for gate in pod["spec"].get("schedulingGates", ())}
