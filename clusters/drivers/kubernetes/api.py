"""The calls to an API server, with plain JSON as results."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import urllib3

from clusters.drivers.kubernetes.access import Access
from clusters.drivers.kubernetes.errors import Refused
from clusters.drivers.kubernetes.transport import READ_S, Transport, unreachable

Json = dict[str, Any]
Query = dict[str, str | int]
Listed = tuple[list[Json], str]
"""The objects of a list, and its version, from which a watch continues."""

PAGE = 500

_NAMESPACES = "/api/v1/namespaces"
_ALL_PODS = "/api/v1/pods"
_NODES = "/api/v1/nodes"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Api:
    """The calls that the driver makes in one namespace. Each may raise DriverError."""

    def __init__(self, access: Access, namespace: str) -> None:
        self._transport = Transport(access)
        self._namespace = namespace
        self._pods = f"{_NAMESPACES}/{namespace}/pods"
        self._config_maps = f"{_NAMESPACES}/{namespace}/configmaps"
        self._secrets = f"{_NAMESPACES}/{namespace}/secrets"

    def create_pod(self, manifest: Json, *, really: bool = True) -> Json:
        """Create the Pod, or only have it validated and admitted if not `really`."""
        query: Query = {} if really else {"dryRun": "All"}
        return self._call("POST", self._pods, manifest, **query)

    def read_pod(self, name: str) -> Json | None:
        """Return the Pod, or None if it does not exist."""
        return _if_there(lambda: self._call("GET", f"{self._pods}/{name}"))

    def list_pods(self, selector: str) -> Listed:
        """Return the Pods that match the selector, and the list's version to start a watch from."""
        return self._list(self._pods, labelSelector=selector)

    def watch_pods(self, selector: str, version: str, seconds: int) -> Iterator[Json]:
        """Yield the events after that version of the list, for that many seconds."""
        return self._watch(self._pods, version, seconds, labelSelector=selector)

    def list_all_pods(self) -> Listed:
        """Return the Pods of all namespaces as `list_pods` does."""
        return self._list(_ALL_PODS)

    def watch_all_pods(self, version: str, seconds: int) -> Iterator[Json]:
        return self._watch(_ALL_PODS, version, seconds)

    def list_own_namespace(self) -> Listed:
        """Return all Pods of the namespace as `list_pods` does."""
        return self._list(self._pods)

    def list_nodes(self) -> Listed:
        return self._list(_NODES)

    def watch_nodes(self, version: str, seconds: int) -> Iterator[Json]:
        return self._watch(_NODES, version, seconds)

    def _list(self, path: str, **query: str | int) -> Listed:
        """Return all pages of a list.

        The list comes from the store, never from a cache, so that it includes all earlier writes.
        """
        while True:
            try:
                return self._pages(path, {**query, "limit": PAGE})
            except Refused as error:
                # The next page was requested too late, so the list has to start again.
                if error.status != 410:
                    raise

    def _pages(self, path: str, query: Query) -> Listed:
        items: list[Json] = []
        while True:
            page = self._call("GET", path, None, **query)
            items += page["items"]
            following = page["metadata"].get("continue")
            if not following:
                return items, page["metadata"]["resourceVersion"]
            query["continue"] = following

    def _watch(self, path: str, version: str, seconds: int, **query: str | int) -> Iterator[Json]:
        query |= {"resourceVersion": version, "watch": "true", "timeoutSeconds": seconds}
        # Sent at once, so that a refusal is raised here and not at the first event.
        return _events(self._transport.request("GET", path, query=query, read_s=seconds + READ_S))

    def patch_pod(self, name: str, change: Json) -> Json | None:
        """Change the Pod with a strategic merge patch; return it, None if there is none."""
        return _if_there(lambda: self._call("PATCH", f"{self._pods}/{name}", change))

    def delete_pod(self, name: str, *, uid: str, grace_seconds: int, version: str = "") -> None:
        """Request the deletion of the Pod with this uid, if it still exists.

        With `version`, raises Refused if the Pod has changed since that version.
        """
        conditions = {"uid": uid, **({"resourceVersion": version} if version else {})}
        options = {"gracePeriodSeconds": grace_seconds, "preconditions": conditions}
        try:
            self._call("DELETE", f"{self._pods}/{name}", options)
        except Refused as error:
            # 409 without a version: another Pod has this name, so the one to delete is gone.
            if error.status != 404 and (version or error.status != 409):
                raise

    def create_secret(self, manifest: Json) -> None:
        self._call("POST", self._secrets, manifest)

    def read_config_map(self, name: str) -> Json | None:
        """Return the ConfigMap, None if there is none."""
        return _if_there(lambda: self._call("GET", f"{self._config_maps}/{name}"))

    def write_config_map(self, manifest: Json) -> None:
        """Create the ConfigMap, or replace the version that the manifest names."""
        meta = manifest["metadata"]
        if "resourceVersion" in meta:
            self._call("PUT", f"{self._config_maps}/{meta['name']}", manifest)
        else:
            self._call("POST", self._config_maps, manifest)

    def open_log(
        self, name: str, container: str, *, tail: int | None, follow: bool
    ) -> urllib3.BaseHTTPResponse:
        """Return the open response, which the caller reads and closes."""
        query: Query = {"container": container}
        if tail is not None:
            query["tailLines"] = tail
        if follow:
            query["follow"] = "true"
        return self._transport.request(
            "GET", f"{self._pods}/{name}/log", query=query, read_s=None if follow else READ_S
        )

    def may(self, verb: str, resource: str) -> bool:
        """Return whether the service account has this right in the namespace.

        `resource` may include a subresource, as in `pods/log`.
        """
        name, _, subresource = resource.partition("/")
        asked = {"namespace": self._namespace, "verb": verb, "resource": name,
                 "subresource": subresource}  # fmt: skip
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                  "spec": {"resourceAttributes": asked}}  # fmt: skip
        return bool(self._call("POST", _REVIEWS, review)["status"]["allowed"])

    def pod_events(self, uid: str) -> list[Json]:
        """Return the Pod's events of about the last hour, in the server's order."""
        events = f"{_NAMESPACES}/{self._namespace}/events"
        selector = f"involvedObject.uid={uid}"
        return list(self._call("GET", events, fieldSelector=selector, limit=PAGE)["items"])

    def quotas(self) -> list[Json]:
        return list(self._call("GET", f"{_NAMESPACES}/{self._namespace}/resourcequotas")["items"])

    def namespace_uid(self, name: str) -> str:
        return str(self._call("GET", f"{_NAMESPACES}/{name}")["metadata"]["uid"])

    def version(self) -> str:
        return str(self._call("GET", "/version/")["gitVersion"])

    def _call(self, method: str, path: str, body: Json | None = None, **query: str | int) -> Json:
        response = self._transport.request(method, path, body, query)
        try:
            with response:
                answer: Json = json.loads(response.read())
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise unreachable(error) from error
        return answer


def _events(response: urllib3.BaseHTTPResponse) -> Iterator[Json]:
    try:
        for line in _lines(response):
            yield json.loads(line)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(error) from error
    finally:
        response.close()


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(None):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)


def _if_there(ask: Callable[[], Json]) -> Json | None:
    """Return the response, None if the object does not exist."""
    try:
        return ask()
    except Refused as error:
        if error.status == 404:
            return None
        raise
