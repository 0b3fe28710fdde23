"""The API server's processing of a Pod before it is stored: defaults, validation, quota."""

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from tests.support.kube_api import status

Json = dict[str, Any]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_ENV = re.compile(r"(?!\.$|\.\.)[-._a-zA-Z][-._a-zA-Z0-9]*")
_RELAXED_ENV = re.compile(r"[ -<>-~]+")
_EXTENDED = "/"

_TOLERATED_S = 300


def admit(pod: Json, namespace: str, *, relaxed_names: bool = False) -> Json:
    """Return the Pod with its defaults. Raises ApiError 400 or 422.

    `relaxed_names` accepts names of environment variables as Kubernetes 1.32 and later do.
    """
    if pod.get("kind") != "Pod" or pod.get("apiVersion") != "v1":
        raise status.bad_request("the object provided is unrecognized (must be of type Pod)")
    if pod["metadata"].setdefault("namespace", namespace) != namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    _validate(pod, _RELAXED_ENV if relaxed_names else _ENV)
    spec = pod["spec"]
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("tolerations", [])
    spec["tolerations"] = spec["tolerations"] + [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute",
         "tolerationSeconds": _TOLERATED_S}
        for key in ("not-ready", "unreachable")
    ]  # fmt: skip
    for container in spec["containers"]:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("imagePullPolicy", "IfNotPresent")
    pod["status"] = {"phase": "Pending", "qosClass": "Guaranteed"}
    if spec.get("schedulingGates"):
        pod["status"]["conditions"] = [
            {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
             "message": "Scheduling is blocked due to non-empty scheduling gates"}
        ]  # fmt: skip
    return pod


def _validate(pod: Json, env_name: re.Pattern[str]) -> None:
    meta, containers = pod["metadata"], pod["spec"].get("containers") or []
    name = meta.get("name", "")
    if not _NAME.fullmatch(name) or len(name) > 253:
        why = f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case'
        raise status.invalid(name, "metadata.name", why)
    for key, value in (meta.get("labels") or {}).items():
        if not _QUALIFIED.fullmatch(key) or not _VALUE.fullmatch(value):
            raise status.invalid(name, "metadata.labels", f'Invalid value: "{key}={value}"')
    for finalizer in meta.get("finalizers") or ():
        if "/" not in finalizer or not _QUALIFIED.fullmatch(finalizer):
            raise status.invalid(name, "metadata.finalizers", f'Invalid value: "{finalizer}"')
    if not containers:
        raise status.invalid(name, "spec.containers", "Required value")
    _validate_gates(name, pod["spec"])
    for number, container in enumerate(containers):
        _validate_container(name, f"spec.containers[{number}]", container, env_name)


def _validate_gates(name: str, spec: Json) -> None:
    for number, gate in enumerate(spec.get("schedulingGates") or ()):
        if "/" not in gate["name"] or not _QUALIFIED.fullmatch(gate["name"]):
            why = f'Invalid value: "{gate["name"]}"'
            raise status.invalid(name, f"spec.schedulingGates[{number}]", why)
        if spec.get("nodeName"):
            why = "Forbidden: cannot be set until all schedulingGates have been cleared"
            raise status.invalid(name, "spec.nodeName", why)


def _validate_container(name: str, path: str, container: Json, env_name: re.Pattern[str]) -> None:
    image = container.get("image", "")
    if not image:
        raise status.invalid(name, f"{path}.image", "Required value")
    if image != image.strip():
        why = f'Invalid value: "{image}": must not have leading or trailing whitespace'
        raise status.invalid(name, f"{path}.image", why)
    for number, entry in enumerate(container.get("env") or ()):
        if not env_name.fullmatch(entry["name"]):
            why = f'Invalid value: "{entry["name"]}": a valid environment variable name'
            raise status.invalid(name, f"{path}.env[{number}].name", why)
        if not isinstance(entry.get("value", ""), str):
            raise status.bad_request("cannot unmarshal number into Go struct field EnvVar.value")
        _validate_source(name, f"{path}.env[{number}].valueFrom", entry)
    for key in ("runAsUser", "runAsGroup"):
        if not 0 <= container.get("securityContext", {}).get(key, 0) < 2**31:
            why = "Invalid value: must be between 0 and 2147483647, inclusive"
            raise status.invalid(name, f"{path}.securityContext.{key}", why)
    _validate_resources(name, f"{path}.resources", container.get("resources", {}))


def _validate_source(name: str, path: str, entry: Json) -> None:
    if "valueFrom" not in entry:
        return
    if entry.get("value"):
        raise status.invalid(name, path, "Invalid value: may not be specified when `value` is set")
    source = entry["valueFrom"]
    if set(source) != {"secretKeyRef"}:
        raise status.invalid(name, path, "Invalid value: must specify one of: `secretKeyRef`")
    if not source["secretKeyRef"].get("key"):
        raise status.invalid(name, f"{path}.secretKeyRef.key", "Required value")


def _validate_resources(name: str, path: str, resources: Json) -> None:
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    for key, quantity in requests.items():
        if _quantity(quantity) < 0:
            why = f'Invalid value: "{quantity}": must be greater than or equal to 0'
            raise status.invalid(name, f"{path}.requests[{key}]", why)
        if key in limits and _quantity(quantity) > _quantity(limits[key]):
            why = f'Invalid value: "{quantity}": must be less than or equal to {key} limit'
            raise status.invalid(name, f"{path}.requests", why)
    for key in limits | requests:
        if _EXTENDED in key and limits.get(key) != requests.get(key):
            raise status.invalid(name, f"{path}.limits[{key}]", "must be equal to its request")


def _quantity(text: str) -> Decimal:
    try:
        return Decimal(parse_quantity(text))
    except ValueError:
        raise status.bad_request(
            "quantities must match the regular expression"
            " '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ) from None


def check_restricted(pod: Json) -> None:
    """Raise ApiError 403 if the Pod violates the Pod security level `restricted`."""
    whys = [why for container in pod["spec"]["containers"] for why in _violations(pod, container)]
    if whys:
        raise status.forbidden(
            f'pods "{pod["metadata"]["name"]}" is forbidden: violates PodSecurity'
            f' "restricted:latest": {", ".join(whys)}'
        )


def _violations(pod: Json, container: Json) -> Iterator[str]:
    """Yield what of the container the level `restricted` forbids, in its order and words."""
    name, own = container["name"], container.get("securityContext", {})
    both = {**pod["spec"].get("securityContext", {}), **own}
    if own.get("allowPrivilegeEscalation") is not False:
        yield (
            f'allowPrivilegeEscalation != false (container "{name}" must set'
            " securityContext.allowPrivilegeEscalation=false)"
        )
    capabilities = own.get("capabilities", {})
    added = set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}
    if "ALL" not in capabilities.get("drop", ()) or added:
        yield (
            f'unrestricted capabilities (container "{name}" must set'
            ' securityContext.capabilities.drop=["ALL"])'
        )
    if both.get("runAsNonRoot") is not True:
        yield (
            f'runAsNonRoot != true (pod or container "{name}" must set'
            " securityContext.runAsNonRoot=true)"
        )
    if both.get("runAsUser") == 0:
        yield f'runAsUser=0 (container "{name}" must not set runAsUser=0)'
    if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield (
            f'seccompProfile (pod or container "{name}" must set'
            ' securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
        )


def requested(pods: Iterable[Json], key: str, kind: str = "requests") -> Decimal:
    """Return the sum of the requests (or `limits`) of the Pods that have not ended."""
    return sum(
        (
            _quantity(container.get("resources", {}).get(kind, {}).get(key, "0"))
            for pod in pods
            if pod["status"].get("phase") not in ("Succeeded", "Failed")
            for container in pod["spec"]["containers"]
        ),
        start=Decimal(0),
    )


def check_limits(pod: Json, limits: Mapping[str, Mapping[str, str]]) -> None:
    """Raise ApiError 403 for a container outside the `min` and `max` of a LimitRange."""
    whys = []
    for container in pod["spec"]["containers"]:
        has = container.get("resources", {}).get("limits", {})
        for key, least in limits.get("min", {}).items():
            if _quantity(has.get(key, "0")) < _quantity(least):
                whys.append(
                    f"minimum {key} usage per Container is {least}, but request is {has.get(key)}"
                )
        for key, most in limits.get("max", {}).items():
            if _quantity(has.get(key, "0")) > _quantity(most):
                whys.append(
                    f"maximum {key} usage per Container is {most}, but limit is {has.get(key)}"
                )
    if whys:
        text = whys[0] if len(whys) == 1 else f"[{', '.join(whys)}]"
        raise status.forbidden(f'pods "{pod["metadata"]["name"]}" is forbidden: {text}')


def check_quota(pod: Json, others: Iterable[Json], hard: Mapping[str, str]) -> None:
    """Raise ApiError 403 if the Pod would exceed the namespace's quota."""
    others = list(others)
    name = pod["metadata"]["name"]
    limits = pod["spec"]["containers"][0].get("resources", {}).get("limits", {})
    keys = ",".join(key for key in hard if "ephemeral-storage" in key)
    if keys and "ephemeral-storage" not in limits:
        raise status.forbidden(
            f'pods "{name}" is forbidden: failed quota: team: must specify {keys} for: main'
        )
    for key, limit in hard.items():
        resource = key.removeprefix("requests.").removeprefix("limits.")
        kind = "limits" if key.startswith("limits.") else "requests"
        used, wanted = (requested(each, resource, kind) for each in (others, [pod]))
        if used + wanted > _quantity(limit):
            raise status.forbidden(
                f'pods "{name}" is forbidden: exceeded quota: team, requested: {key}={wanted},'
                f" used: {key}={used}, limited: {key}={limit}"
            )
