"""The life of one Pod from its creation to its end: scheduler and kubelet, one thread per Pod."""

import json
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kubernetes.utils.quantity import parse_quantity

from tests.support.kube_api import status
from tests.support.kube_api.process import NotStarted, Process
from tests.support.kube_api.store import Key, now

if TYPE_CHECKING:
    from tests.support.kube_api.cluster import KubeCluster
    from tests.support.kube_api.nodes import Node

Json = dict[str, Any]

_LOOK_S = 0.02
_PULL = "rpc error: code = NotFound desc = failed to pull and unpack image"


class PodLife:
    def __init__(self, cluster: "KubeCluster", key: Key) -> None:
        self._cluster = cluster
        self._store = cluster.store
        self._key = key
        self.log = Path(cluster.folder) / f"{key[0]}.{key[1]}.{cluster.next_number()}.log"
        self.process: Process | None = None
        self.evicted: str | None = None
        self.is_disrupted = True
        """Whether an eviction has the condition DisruptionTarget."""

    def run(self) -> None:
        try:
            node = self._schedule()
            if node and self._start(node):
                self._supervise(node)
            if node:
                self._confirm_deletion(node)
        except status.ApiError:
            pass  # The Pod is gone, so its container has to end.
        finally:
            if self.process:
                self.process.reap()

    def _schedule(self) -> "Node | None":
        while not self._store.closed:
            pod = self._store.get(self._key)
            if "deletionTimestamp" in pod["metadata"]:
                return None
            if pod["spec"].get("schedulingGates"):
                self._store.wait(0.2)
                continue
            node, why = self._cluster.bind(self._key)
            if node:
                self._report("Normal", "Scheduled", f"Successfully assigned to {node.name}")
                return node
            self._store.update(self._key, lambda pod, why=why: _unschedulable(pod, why))  # type: ignore[misc]
            self._store.wait(0.2)
        return None

    def _start(self, node: "Node") -> bool:
        """Pull the image and start the container; return whether it runs."""
        if node.rejects:
            self._store.update(self._key, lambda pod: _rejected(pod, node.rejects))
            return False
        self._state({"waiting": {"reason": "ContainerCreating"}}, "Pending")
        if not self._make_sandbox(node):
            return False
        pod = self._store.get(self._key)
        spec = pod["spec"]["containers"][0]
        image = spec["image"]
        if why := self._unpullable(pod):
            return self._cannot_pull(image, why)
        if self._cluster.pulling:
            self._report("Normal", "Pulling", f'Pulling image "{image}"')
        if not self._wait_while(lambda: self._cluster.pulling):
            return False
        self._report("Normal", "Pulled", f'Container image "{image}" already present on machine')
        args = [_expand(word) for word in spec.get("args", ())] or ["true"]
        env = self._environment(spec)
        if env is None:
            return False
        memory = int(parse_quantity(spec["resources"]["limits"]["memory"]))
        try:
            self.process = Process(args, env, memory, self.log, spec.get("securityContext", {}))
        except NotStarted as error:
            self._ended(128, "StartError", str(error))
            return False
        self._state({"running": {"startedAt": now()}}, "Running")
        self._report("Normal", "Started", "Started container main")
        return True

    def _environment(self, container: Json) -> dict[str, str] | None:
        """Return the variables once every Secret that they need is there; None at a deletion."""
        found: list[dict[str, str]] = []
        reported = ""

        def is_incomplete() -> bool:
            nonlocal reported
            env, why = self._resolved(container)
            if why and why != reported:
                waiting = {"reason": "CreateContainerConfigError", "message": why}
                self._state({"waiting": waiting}, "Pending")
                self._report("Warning", "Failed", f"Error: {why}")
                reported = why
            found[:] = [env]
            return bool(why)

        return found[0] if self._wait_while(is_incomplete) else None

    def _resolved(self, container: Json) -> tuple[dict[str, str], str]:
        """Return the variables, and the kubelet's message for the first one without a value."""
        namespace, env = self._key[0], {}
        for entry in container.get("env", ()):
            if "valueFrom" not in entry:
                env[entry["name"]] = _expand(entry.get("value", ""))
                continue
            wanted = entry["valueFrom"]["secretKeyRef"]
            values = self._cluster.secrets.values(namespace, wanted["name"])
            if values is None:
                return {}, f'secret "{wanted["name"]}" not found'
            if wanted["key"] not in values:
                where = f"{namespace}/{wanted['name']}"
                return {}, f"couldn't find key {wanted['key']} in Secret {where}"
            env[entry["name"]] = values[wanted["key"]]
        return env, ""

    def _make_sandbox(self, node: "Node") -> bool:
        """Try until the sandbox can be created; return whether it was, before a deletion."""
        while why := self._cluster.no_sandbox:
            error = f'rpc error: failed to setup network for sandbox "{uuid4().hex}": {why}'
            self._report("Warning", "FailedCreatePodSandBox",
                         f"Failed to create pod sandbox: {error}")  # fmt: skip
            began = time.monotonic()
            if not self._wait_while(
                lambda: bool(self._cluster.no_sandbox) and time.monotonic() < began + 0.3  # noqa: B023
            ):
                return False
        return True

    def _report(self, kind: str, reason: str, message: str) -> None:
        self._cluster.events.record(self._store.get(self._key), kind, reason, message)

    def _unpullable(self, pod: Json) -> str:
        """Return why the image cannot be pulled, "" if it can."""
        image = pod["spec"]["containers"][0]["image"]
        logins = self._logins(pod)
        host = image.partition("/")[0]
        if host in self._cluster.private:
            failed = f'failed to pull and unpack image "{image}": failed to resolve reference: '
            if host not in logins:
                return f"{failed}authorization failed: no basic auth credentials"
            if logins[host] != self._cluster.private[host]:
                return f"{failed}unexpected status from HEAD request: 401 Unauthorized"
        if image in self._cluster.pullable:
            return ""
        return self._cluster.unpullable.get(image, f'{_PULL} "{image}": {image}: not found')

    def _logins(self, pod: Json) -> dict[str, tuple[str, str]]:
        """Return the log-ins of the Pod's pull Secrets; one that is missing is only reported."""
        found: dict[str, tuple[str, str]] = {}
        for reference in pod["spec"].get("imagePullSecrets", ()):
            values = self._cluster.secrets.values(self._key[0], reference["name"])
            if values is None:
                why = f"Unable to retrieve some image pull secrets ({reference['name']})"
                self._report("Warning", "FailedToRetrieveImagePullSecret", why)
                continue
            for host, entry in json.loads(values[".dockerconfigjson"])["auths"].items():
                user, _, password = b64decode(entry["auth"]).decode().partition(":")
                found[host] = user, password
        return found

    def _cannot_pull(self, image: str, why: str) -> bool:
        self._state({"waiting": {"reason": "ErrImagePull", "message": why}}, "Pending")
        back_off = f'Back-off pulling image "{image}": ErrImagePull: {why}'
        self._wait_for_deletion(0.3)
        self._state({"waiting": {"reason": "ImagePullBackOff", "message": back_off}}, "Pending")
        self._wait_for_deletion(float("inf"))
        return False

    def _supervise(self, node: "Node") -> None:
        """Watch the process until it ends, and end it on a deletion or an eviction."""
        assert self.process
        killed_at = None
        signalled = False
        was_cut_off = False
        while True:
            if node.answers and was_cut_off:
                self._state(self._container(self._store.get(self._key)), "Running")
            was_cut_off = not node.answers
            code = self.process.exit_code()
            if code is not None and node.answers:
                reason = (
                    "OOMKilled"
                    if self.process.out_of_memory
                    else "Completed"
                    if code == 0
                    else "Error"
                )
                self._ended(code, reason)
                return
            if self._store.closed or node.removed:
                return
            if node.answers:
                wanted_s = self._grace_s()
                if wanted_s is not None and not signalled:
                    self.process.terminate()
                    signalled = True
                if wanted_s is not None:
                    killed_at = min(killed_at or float("inf"), time.monotonic() + wanted_s)
                if killed_at is not None and time.monotonic() >= killed_at:
                    self.process.kill()
            time.sleep(_LOOK_S)

    def _grace_s(self) -> float | None:
        """Return the grace of the requested end in seconds, None if no end was requested."""
        meta = self._store.get(self._key)["metadata"]
        if "deletionTimestamp" in meta:
            return float(meta["deletionGracePeriodSeconds"])
        return 0.0 if self.evicted else None

    def _ended(self, code: int, reason: str, message: str = "") -> None:
        terminated = {"exitCode": code, "reason": reason, "finishedAt": now()}
        if message:
            terminated["message"] = message
        running = self._container(self._store.get(self._key)).get("running", {})
        terminated["startedAt"] = running.get("startedAt", now())
        evicted = self.evicted
        phase = "Succeeded" if code == 0 and not evicted else "Failed"
        self._state({"terminated": terminated}, phase, evicted)

    def _confirm_deletion(self, node: "Node") -> None:
        """Wait for a deletion, and complete it, because nothing of the Pod runs."""
        self._wait_for_deletion(float("inf"))
        until = time.monotonic() + self._cluster.confirms_after_s
        while not self._store.closed and not node.removed:
            if node.answers and time.monotonic() >= until:
                break
            time.sleep(_LOOK_S)
        if node.removed or self._store.closed:
            return
        pod = self._store.get(self._key)
        if pod["status"]["phase"] not in ("Succeeded", "Failed"):
            self._store.update(self._key, lambda pod: pod["status"].update(phase="Failed"))
        self._store.delete(self._key, 0)

    def _wait_for_deletion(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._store.closed and time.monotonic() < until:
            if "deletionTimestamp" in self._store.get(self._key)["metadata"]:
                return
            self._store.wait(min(0.2, max(0.0, until - time.monotonic())))

    def _wait_while(self, condition: Callable[[], bool]) -> bool:
        while condition():
            if self._store.closed or "deletionTimestamp" in self._store.get(self._key)["metadata"]:
                return False
            self._store.wait(0.05)
        return True

    def _state(self, state: Json, phase: str, evicted: str | None = None) -> None:
        def change(pod: Json) -> None:
            container = pod["spec"]["containers"][0]
            pod["status"]["phase"] = phase
            pod["status"]["containerStatuses"] = [
                {"name": container["name"], "image": container["image"], "state": state,
                 "ready": "running" in state, "restartCount": 0, "imageID": ""}
            ]  # fmt: skip
            runs = "True" if "running" in state else "False"
            for name in ("ContainersReady", "Ready"):
                _condition(pod, {"type": name, "status": runs, "lastTransitionTime": now()})
            if evicted:
                pod["status"] |= {"reason": "Evicted", "message": evicted}
            if evicted and self.is_disrupted:
                disrupt(pod, "TerminationByKubelet", evicted)

        self._store.update(self._key, change)

    def _container(self, pod: Json) -> Json:
        found: Json = pod["status"]["containerStatuses"][0]["state"]
        return found


def disrupt(pod: Json, reason: str, message: str) -> None:
    """Add the condition with which Kubernetes announces that it ends the Pod."""
    _condition(pod, {"type": "DisruptionTarget", "status": "True", "reason": reason,
                     "message": message, "lastTransitionTime": now()})  # fmt: skip


def mark_not_ready(pod: Json) -> None:
    """Set only the condition `Ready` of a ready Pod to False, as the node controller does."""
    ready = [c for c in pod["status"].get("conditions", ()) if c["type"] == "Ready"]
    for condition in ready:
        _condition(pod, condition | {"status": "False", "lastTransitionTime": now()})


def scheduled(pod: Json, node: str) -> None:
    pod["spec"]["nodeName"] = node
    pod["status"]["startTime"] = now()
    _condition(pod, {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()})


def _rejected(pod: Json, reason: str) -> None:
    message = f"Pod was rejected: Node didn't have enough resource: {reason.removeprefix('OutOf')}"
    pod["status"] |= {"phase": "Failed", "reason": reason, "message": message}


def _unschedulable(pod: Json, why: str) -> None:
    former = {c["type"]: c for c in pod["status"].get("conditions", ())}.get("PodScheduled", {})
    _condition(pod, {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
        "lastTransitionTime": former.get("lastTransitionTime", now()),
    })  # fmt: skip


def _condition(pod: Json, condition: Json) -> None:
    others = [c for c in pod["status"].get("conditions", ()) if c["type"] != condition["type"]]
    pod["status"]["conditions"] = [*others, condition]


def _expand(text: str) -> str:
    """Return the text with `$$` as `$`; `$(NAME)` with an unknown name stays as it is."""
    return text.replace("$$", "$")
