"""The calls to an API server: the official client's operations, answered in plain JSON."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import urllib3
from kubernetes.client import (
    ApiClient,
    AuthorizationV1Api,
    Configuration,
    CoreV1Api,
    VersionApi,
)

from clusters.drivers.kubernetes.access import Access
from clusters.drivers.kubernetes.errors import Refused
from clusters.drivers.kubernetes.transport import CONNECT_S, READ_S, Transport, unreachable

Json = dict[str, Any]

PAGE = 500


class Api:
    """The calls that the driver makes in one namespace. Each raises DriverError."""

    def __init__(self, access: Access, namespace: str) -> None:
        configuration = Configuration(host=access.server)
        if access.token:
            configuration.api_key["authorization"] = f"Bearer {access.token}"
        client = ApiClient(configuration)
        client.rest_client = Transport(access)
        self._core = CoreV1Api(client)
        self._authorization = AuthorizationV1Api(client)
        self._version = VersionApi(client)
        self._namespace = namespace

    def create_pod(self, manifest: Json, *, really: bool = True) -> Json:
        """Create the Pod, or only have it checked by all that checks Pods there."""
        dry = {} if really else {"dry_run": "All"}
        return _json(self._core.create_namespaced_pod(self._namespace, manifest, **dry, **_raw()))

    def read_pod(self, name: str) -> Json | None:
        """Return the Pod, None when there is none."""
        return _if_there(lambda: self._core.read_namespaced_pod(name, self._namespace, **_raw()))

    def list_pods(self, selector: str) -> tuple[list[Json], str]:
        """Return the Pods that carry the labels, and the version of the list, to watch from.

        Asked of the store itself, never of a cache: what was written before is in it.
        """
        while True:
            try:
                return self._pages(selector)
            except Refused as error:
                # The list's next page was asked for too late: it begins again.
                if error.status != 410:
                    raise

    def _pages(self, selector: str) -> tuple[list[Json], str]:
        pods: list[Json] = []
        more: dict[str, str] = {}
        while True:
            page = _json(self._core.list_namespaced_pod(
                self._namespace, label_selector=selector, limit=PAGE, **more, **_raw()
            ))  # fmt: skip
            pods += page["items"]
            following = page["metadata"].get("continue")
            if not following:
                return pods, page["metadata"]["resourceVersion"]
            more = {"_continue": following}

    def watch_pods(self, selector: str, version: str, seconds: int) -> Iterator[Json]:
        """Yield the events after that version of the list, for so many seconds."""
        response = self._core.list_namespaced_pod(
            self._namespace, label_selector=selector, resource_version=version, watch=True,
            timeout_seconds=seconds, **_raw(read_s=seconds + READ_S),
        )  # fmt: skip
        try:
            for line in _lines(response):
                yield json.loads(line)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(error) from error
        finally:
            response.close()

    def patch_pod(self, name: str, change: Json) -> Json | None:
        """Change the Pod, by the rules of a strategic merge; return it, None when there is none."""
        return _if_there(
            lambda: self._core.patch_namespaced_pod(name, self._namespace, change, **_raw())
        )

    def delete_pod(self, name: str, *, uid: str, grace_seconds: int) -> None:
        """Have this very Pod deleted; nothing happens when it has been already."""
        options = {"gracePeriodSeconds": grace_seconds, "preconditions": {"uid": uid}}
        try:
            _json(self._core.delete_namespaced_pod(name, self._namespace, body=options, **_raw()))
        except Refused as error:
            # 409: another Pod has the name by now, so ours is gone.
            if error.status not in (404, 409):
                raise

    def read_config_map(self, name: str) -> Json | None:
        """Return the ConfigMap, None when there is none."""
        return _if_there(
            lambda: self._core.read_namespaced_config_map(name, self._namespace, **_raw())
        )

    def write_config_map(self, manifest: Json) -> None:
        """Create it, or replace the version that the manifest names."""
        meta = manifest["metadata"]
        if "resourceVersion" in meta:
            _json(self._core.replace_namespaced_config_map(
                meta["name"], self._namespace, manifest, **_raw()
            ))  # fmt: skip
        else:
            _json(self._core.create_namespaced_config_map(self._namespace, manifest, **_raw()))

    def open_log(self, name: str, container: str, *, tail: int | None, follow: bool) -> Any:
        """Return the open answer; the caller reads and closes it."""
        limit = {} if tail is None else {"tail_lines": tail}
        return self._core.read_namespaced_pod_log(
            name, self._namespace, container=container, follow=follow, **limit,
            **_raw(read_s=None if follow else READ_S),
        )  # fmt: skip

    def may(self, verb: str, resource: str) -> bool:
        """Return whether we have the right in the namespace; `resource` as in `pods/log`."""
        name, _, subresource = resource.partition("/")
        asked = {"namespace": self._namespace, "verb": verb, "resource": name,
                 "subresource": subresource}  # fmt: skip
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                  "spec": {"resourceAttributes": asked}}  # fmt: skip
        answer = _json(self._authorization.create_self_subject_access_review(review, **_raw()))
        return bool(answer["status"]["allowed"])

    def nodes(self) -> list[Json]:
        return list(_json(self._core.list_node(**_raw()))["items"])

    def pod_events(self, uid: str) -> list[Json]:
        """Return what Kubernetes reported of the Pod within the last hour, the oldest first."""
        answer = _json(self._core.list_namespaced_event(
            self._namespace, field_selector=f"involvedObject.uid={uid}", limit=PAGE, **_raw()
        ))  # fmt: skip
        return list(answer["items"])

    def quotas(self) -> list[Json]:
        answer = _json(self._core.list_namespaced_resource_quota(self._namespace, **_raw()))
        return list(answer["items"])

    def namespace_uid(self, name: str) -> str:
        return str(_json(self._core.read_namespace(name, **_raw()))["metadata"]["uid"])

    def version(self) -> str:
        return str(_json(self._version.get_code(**_raw()))["gitVersion"])


def _raw(read_s: float | None = READ_S) -> dict[str, Any]:
    return {"_preload_content": False, "_request_timeout": (CONNECT_S, read_s)}


def _json(response: urllib3.BaseHTTPResponse) -> Json:
    try:
        with response:
            answer: Json = json.loads(response.read())
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise unreachable(error) from error
    return answer


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(None):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)


def _if_there(ask: Callable[[], urllib3.BaseHTTPResponse]) -> Json | None:
    """Return the answer, None when there is no such thing."""
    try:
        return _json(ask())
    except Refused as error:
        if error.status == 404:
            return None
        raise
