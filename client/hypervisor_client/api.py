"""The calls of the REST API that people and programs need most."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from hypervisor_client.errors import ApiError
from hypervisor_client.transport import Transport

JSON = dict[str, Any]

ENDED = ("completed", "failed", "stopped", "cancelled")
_LIVE = ["pending", "starting", "running", "stopping"]
_MOST_AT_ONCE = 1000
"""The most deployments that one call changes."""

_LONG_POLL_S = 30.0
_WITHOUT_EVENTS_S = 2.0
"""How long to wait before looking again while the service sends no events."""

_CANNOT_FOLLOW = (410, 429, 502, 503, 504)


class Client:
    """A client of one service, for one thread at a time; use it in a `with` statement.

    - url: the service's address, such as `https://gpu.example.org`.
    - token: an API token (`hv_…`) or an access token; "" for calls that need none.
    - timeout_s: how long one attempt waits for its response.
    - patience_s: how long a call is repeated while the service is unreachable or busy.
    - note: is called with a sentence for people when a call has to be repeated.

    All calls raise ApiError for an error response and Unreachable without a response.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        timeout_s: float = 30,
        patience_s: float = 60,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.transport = Transport(
            url, token, timeout_s=timeout_s, patience_s=patience_s, note=note
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.transport.close()

    def call(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> Any:
        """Make any call of the API; return the JSON of its response, None if it has no body."""
        response = self.transport.send(method, path, params=params, body=body)
        return response.json() if response.content else None

    def rows(
        self, path: str, params: Mapping[str, Any] | None = None, *, limit: int | None = None
    ) -> Iterator[JSON]:
        """Yield the rows of a list, page after page; no more than `limit`."""
        wanted: Mapping[str, Any] | None = {**(params or {}), "limit": min(limit or 200, 500)}
        following: str | None = path
        left = limit
        while following is not None:
            page = self.call("GET", following, params=wanted)
            for row in page["results"]:
                if left == 0:
                    return
                yield row
                left = None if left is None else left - 1
            following, wanted = page["next"] and self._path_of(page["next"]), None

    def _path_of(self, url: str) -> str:
        """Return the path and the query of a page's address, for the address that is in use.

        Behind a proxy the service may not know the address under which the caller reaches it.
        """
        parts, base = urlsplit(url), urlsplit(self.transport.url).path
        path = parts.path[len(base) :] if base and parts.path.startswith(base) else parts.path
        return f"{path}?{parts.query}"

    def me(self) -> JSON:
        """Return the caller with the memberships."""
        found: JSON = self.call("GET", "/me")
        return found

    def submit(self, **spec: Any) -> JSON:
        """Submit a deployment, with the fields of `POST /deployments`; return it."""
        created: JSON = self.call("POST", "/deployments", body=spec)
        return created

    def dry_run(self, **spec: Any) -> JSON:
        """Return what would happen if this deployment were submitted; nothing is stored."""
        result: JSON = self.call("POST", "/deployments", params={"dry_run": "true"}, body=spec)
        return result

    def deployment(self, deployment: int) -> JSON:
        found: JSON = self.call("GET", f"/deployments/{deployment}")
        return found

    def deployments(self, *, limit: int | None = None, **filters: Any) -> Iterator[JSON]:
        """Yield deployments, with the filters of `GET /deployments`."""
        return self.rows("/deployments", filters, limit=limit)

    def explain(self, deployment: int) -> JSON:
        """Return why a deployment has its status; while it is pending, what it waits for."""
        found: JSON = self.call("GET", f"/deployments/{deployment}/explain")
        return found

    def change(self, deployment: int, *, dry_run: bool = False, **fields: Any) -> JSON:
        """Change some fields of a deployment; return it.

        This and the other changes take `dry_run`: they change nothing, and return what they would
        return, with what the next cycle would do because of them as `preview`.
        """
        changed: JSON = self._make("PATCH", f"/deployments/{deployment}", dry_run, fields)
        return changed

    def act(self, deployment: int, verb: str, *, dry_run: bool = False) -> JSON:
        """Carry out `start`, `stop`, `cancel`, `hold` or `release`; return the deployment."""
        changed: JSON = self._make("POST", f"/deployments/{deployment}/{verb}", dry_run)
        return changed

    def act_on_all(
        self, verb: str, filters: Mapping[str, Any], *, body: Any = None, dry_run: bool = False
    ) -> JSON:
        """Carry out a verb on all deployments that the filters of a list select.

        The verbs are those of `act`, and `priority` with the body `{"priority": …}`. Returns the
        ids of the changed `deployments`, and what was `skipped`. A dry run lists at most 1,000
        `deployments`, which its `preview` is about; `remaining` counts the others.
        """
        params = {**filters, "limit": _MOST_AT_ONCE, "dry_run": "true" if dry_run else "false"}
        changed: list[int] = []
        while True:
            found: JSON = self.call("POST", f"/deployments/{verb}", params=params, body=body)
            changed += found["deployments"]
            if dry_run or not found["remaining"] or not found["deployments"]:
                # What an earlier call has changed may be skipped by the next one.
                done = set(changed)
                skipped = [each for each in found["skipped"] if each["deployment"] not in done]
                return {**found, "deployments": changed, "skipped": skipped}

    def array(self, array: int) -> JSON:
        """Return an array with its progress."""
        found: JSON = self.call("GET", f"/arrays/{array}")
        return found

    def arrays(self, *, limit: int | None = None, **filters: Any) -> Iterator[JSON]:
        """Yield arrays with their progress, the newest first."""
        return self.rows("/arrays", filters, limit=limit)

    def limit(self, array: int, at_once: int | None, *, dry_run: bool = False) -> JSON:
        """Change how many elements of an array may be active at once, None: any number."""
        changed: JSON = self._make("PATCH", f"/arrays/{array}", dry_run, {"at_once": at_once})
        return changed

    def delete(self, deployment: int, *, dry_run: bool = False) -> JSON | None:
        """Delete a pending or ended deployment."""
        tried: JSON | None = self._make("DELETE", f"/deployments/{deployment}", dry_run)
        return tried

    def steer(
        self, cluster: int, verb: str, *, node: int | None = None, dry_run: bool = False
    ) -> JSON:
        """Carry out `cordon`, `uncordon` or `drain` on a cluster or its node; return that."""
        changed: JSON = self._make("POST", f"{_supply(cluster, node)}/{verb}", dry_run)
        return changed

    def resize(
        self, cluster: int, *, node: int | None = None, dry_run: bool = False, **amounts: Any
    ) -> JSON:
        """Change `cpu`, `ram_mib` or `gpu` of a cluster with one node, or of a node; return it."""
        changed: JSON = self._make("PATCH", _supply(cluster, node), dry_run, amounts)
        return changed

    def _make(self, method: str, path: str, dry_run: bool, body: Any = None) -> Any:
        """Make the call of a change, or its dry run."""
        return self.call(method, path, params={"dry_run": "true"} if dry_run else None, body=body)

    def events(self, deployment: int) -> Iterator[JSON]:
        """Yield the history of a deployment, the oldest event first."""
        return self.rows(f"/deployments/{deployment}/events")

    def logs(
        self, deployment: int, *, tail: str = "", run: int | None = None, follow: bool = False
    ) -> Iterator[bytes]:
        """Yield pieces of a container's output; with `follow`, until the run ends."""
        params = {"tail": tail, "run": run, "follow": "true" if follow else None}
        given = {name: value for name, value in params.items() if value}
        with self.transport.stream(f"/deployments/{deployment}/logs", given) as response:
            yield from response.iter_bytes()

    def clusters(self) -> Iterator[JSON]:
        return self.rows("/clusters")

    def usage(self, organization: int) -> JSON:
        """Return the capacity of an organization, and how much of it each user has allocated."""
        found: JSON = self.call("GET", f"/organizations/{organization}/usage")
        return found

    def nodes(self, cluster: int) -> Iterator[JSON]:
        return self.rows(f"/clusters/{cluster}/nodes")

    def follow(
        self, *, after: int | None = None, wait_s: float | None = None, **filters: Any
    ) -> Iterator[JSON]:
        """Yield the events of an organization after a number as they happen; without one, the new.

        `filters` are those of `GET /events`. To resume, give the `number` of the last event. Ends
        after `wait_s` seconds without an event, or never.
        """
        while True:
            page = self._events(after, _LONG_POLL_S if wait_s is None else wait_s, filters)
            yield from page["events"]
            if wait_s is not None and page["after"] == after:
                return
            after = page["after"]

    def wait(self, deployment: int, *statuses: str, timeout_s: float | None = None) -> JSON:
        """Wait until a deployment has one of the statuses, or has ended; return it.

        Raises TimeoutError after `timeout_s` seconds.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        after: int | None = None
        while True:
            found = self.deployment(deployment)
            if found["status"] in (*statuses, *ENDED):
                return found
            left = _LONG_POLL_S if until is None else min(_LONG_POLL_S, until - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"Deployment {deployment} is still {found['status']}.")
            after = self._number_after_change(found, after, left)

    def wait_for_all(self, filters: Mapping[str, Any], *, timeout_s: float | None = None) -> None:
        """Wait until all deployments that the filters of a list select have ended.

        Raises TimeoutError after `timeout_s` seconds.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        awaited: int | None = None
        after: int | None = None
        while True:
            live = self.deployments(limit=1, **{"ordering": "id", "status": _LIVE, **filters})
            found = next(live, None)
            if found is None:
                return
            left = _LONG_POLL_S if until is None else min(_LONG_POLL_S, until - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"Deployment {found['id']} is still {found['status']}.")
            if found["id"] != awaited:
                awaited, after = found["id"], None  # It may be in another organization.
            after = self._number_after_change(found, after, left)

    def _number_after_change(self, found: JSON, after: int | None, wait_s: float) -> int | None:
        """Wait for the deployment's next event after a number; return the number to go on with.

        Without a number, return the present one at once: what happened before it, the caller sees.
        """
        filters = {"organization": found["organization"], "deployment": found["id"]}
        try:
            page = self._events(after, 0 if after is None else wait_s, filters)
            while after is not None and not page["events"] and page["after"] > after:
                after = int(page["after"])  # These events were about other deployments.
                page = self._events(after, wait_s, filters)
        except ApiError as error:
            if error.status not in _CANNOT_FOLLOW:
                raise
            time.sleep(min(wait_s, _WITHOUT_EVENTS_S))
            return None
        return int(page["after"])

    def _events(self, after: int | None, wait_s: float, filters: Mapping[str, Any]) -> JSON:
        params = {"after": after, "wait": math.ceil(wait_s) or None, **filters}
        response = self.transport.send(
            "GET", "/events",
            params={name: value for name, value in params.items() if value is not None},
            timeout_s=wait_s + 30,
        )  # fmt: skip
        page: JSON = response.json()
        return page


def _supply(cluster: int, node: int | None) -> str:
    return f"/clusters/{cluster}" + ("" if node is None else f"/nodes/{node}")
