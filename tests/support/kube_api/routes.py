"""The implementation of each call."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.kube_api import patch, process, status
from tests.support.kube_api.rbac import Account, Attributes
from tests.support.kube_api.status import ApiError

if TYPE_CHECKING:
    from tests.support.kube_api.cluster import KubeCluster

Json = dict[str, Any]
Stream = Iterator[bytes]

_LONGEST_WATCH_S = 1800


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Json
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Routes:
    """One method per kind of request; each returns the response, or a stream."""

    cluster: "KubeCluster"
    account: Account

    def answer(self, request: Request) -> Json | Stream:
        a = request.attributes
        if a.resource == "version":
            return {"major": "1", "minor": "33", "gitVersion": "v1.33.2"}
        if a.resource == "selfsubjectaccessreviews":
            return self._review(request.body)
        if a.resource == "namespaces":
            return self._namespace(str(a.name))
        if a.resource == "nodes":
            return self._nodes(request)
        if a.namespace not in self.cluster.namespaces and request.method == "POST":
            raise status.not_found("namespaces", str(a.namespace))
        if a.resource == "resourcequotas":
            hard = self.cluster.quotas.get(str(a.namespace))
            items = [{"metadata": {"name": "team"}, "spec": {"hard": hard}}] if hard else []
            return _list("ResourceQuotaList", items, 1)
        if a.resource == "events":
            selector = request.query.get("fieldSelector", "")
            return _list("EventList", self.cluster.events.select(str(a.namespace), selector), 1)
        if a.resource == "configmaps":
            return self._config_map(request)
        if a.resource == "secrets":
            # The account has no other right on them.
            return self.cluster.secrets.create(str(a.namespace), request.body)
        return self._pods(request)

    def _nodes(self, request: Request) -> Json | Stream:
        book = self.cluster.node_book
        if request.attributes.verb == "list":
            return _list("NodeList", *book.all())
        until = time.monotonic() + int(request.query.get("timeoutSeconds", _LONGEST_WATCH_S))
        version = int(request.query["resourceVersion"])
        events = book.watch(version, until, lambda: self.cluster.store.closed)
        return (_event(*event) if event else b"" for event in events)

    def _config_map(self, request: Request) -> Json:
        a, maps = request.attributes, self.cluster.config_maps
        key = (str(a.namespace), str(a.name))
        if a.verb == "create":
            return maps.create(key[0], request.body)
        return maps.replace(key, request.body) if a.verb == "update" else maps.get(key)

    def _review(self, review: Json) -> Json:
        """Return whether the caller has the right in question."""
        right = review["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (right["resource"], right.get("subresource"))))
        wanted = Attributes(right["verb"], resource, right.get("namespace"), right.get("name"))
        return review | {"status": {"allowed": self.account.allows(wanted)}}

    def _namespace(self, name: str) -> Json:
        if name not in self.cluster.namespaces:
            raise status.not_found("namespaces", name)
        uid = self.cluster.namespaces[name]
        return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name, "uid": uid}}

    def _pods(self, request: Request) -> Json | Stream:
        a, store = request.attributes, self.cluster.store
        key, namespace = (str(a.namespace), str(a.name)), a.namespace
        match a.verb:
            case "create":
                dry = request.query.get("dryRun") == "All"
                return self.cluster.create_pod(key[0], request.body, dry=dry)
            case "patch":
                return store.update(key, lambda pod: patch.apply(pod, request.body))
            case "delete":
                return self._delete(key, request)
            case "get" if a.resource == "pods/log":
                return self._log(key, request.query)
            case "get":
                return store.get(key)
            case "watch":
                return self._watch(namespace, request.query)
            case _:
                return self._list(namespace, request.query)

    def _delete(self, key: tuple[str, str], request: Request) -> Json:
        grace = request.body.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
        return self.cluster.store.delete(
            key, None if grace is None else int(grace), request.body.get("preconditions", {})
        )

    def _list(self, namespace: str | None, query: dict[str, str]) -> Json:
        pods, version = self.cluster.store.all()
        found = [pod for pod in pods if _selected(pod, namespace, query)]
        start, at = 0, version
        if query.get("continue"):
            start, at = map(int, query["continue"].split("@"))
            if at < self.cluster.store.oldest:
                raise status.expired(at, self.cluster.store.oldest)
        limit = int(query.get("limit", 0)) or len(found)
        answer = _list("PodList", found[start : start + limit], at)
        if start + limit < len(found):
            answer["metadata"]["continue"] = f"{start + limit}@{at}"
        return answer

    def _watch(self, namespace: str | None, query: dict[str, str]) -> Stream:
        until = time.monotonic() + int(query.get("timeoutSeconds", _LONGEST_WATCH_S))
        store = self.cluster.store
        version = int(query.get("resourceVersion") or store.version)
        try:
            for event in store.watch(version, until):
                if event is None:
                    yield b""
                elif _selected(event[1], namespace, query):
                    yield _event(event[0], event[1])
        except ApiError as error:
            yield _event("ERROR", error.status)
            return
        if query.get("allowWatchBookmarks", "").lower() == "true":
            bookmark = {"kind": "Pod", "metadata": {"resourceVersion": str(store.version)}}
            yield _event("BOOKMARK", bookmark)

    def _log(self, key: tuple[str, str], query: dict[str, str]) -> Stream:
        pod = self.cluster.store.get(key)
        name = query.get("container", pod["spec"]["containers"][0]["name"])
        states = {c["name"]: c["state"] for c in pod["status"].get("containerStatuses", ())}
        waiting = states.get(name, {}).get("waiting", {"reason": "not scheduled"})
        if name not in states or "waiting" in states[name]:
            raise status.bad_request(
                f'container "{name}" in pod "{key[1]}" is waiting to start: {waiting["reason"]}'
            )
        log = self.cluster.lives[key].log
        tail = query.get("tailLines")
        written = process.output(log, None if tail is None else int(tail))
        following = query.get("follow", "").lower() == "true"
        offset = log.stat().st_size if following and log.exists() else None
        return self._output(key, written, offset)

    def _output(self, key: tuple[str, str], written: bytes, offset: int | None) -> Stream:
        yield written
        if offset is not None:
            yield from process.follow(self.cluster.lives[key].log, offset, lambda: self._ended(key))

    def _ended(self, key: tuple[str, str]) -> bool:
        try:
            pod = self.cluster.store.get(key)
        except ApiError:
            return True
        state = pod["status"]["containerStatuses"][0]["state"]
        return "terminated" in state or self.cluster.store.closed


def _selected(pod: Json, namespace: str | None, query: dict[str, str]) -> bool:
    """Whether a list or watch with this query includes the Pod; of all namespaces for None."""
    labels = pod["metadata"].get("labels", {})
    if namespace not in (None, pod["metadata"]["namespace"]):
        return False
    for term in filter(None, query.get("labelSelector", "").split(",")):
        name, equals, value = term.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True


def _list(kind: str, items: list[Json], version: int) -> Json:
    return {
        "kind": kind,
        "apiVersion": "v1",
        "metadata": {"resourceVersion": str(version)},
        "items": items,
    }


def _event(kind: str, item: Json) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"
