"""Submit a deployment, and wait until it has ended."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from hypervisor_client.api import ENDED, JSON, Client
from hypervisor_client.cli.amounts import counted
from hypervisor_client.cli.groups import NO_CODE as NO_CODE
from hypervisor_client.cli.groups import code_of
from hypervisor_client.cli.groups import wait as wait_for_all
from hypervisor_client.cli.preview import done_for_it
from hypervisor_client.cli.selection import selected
from hypervisor_client.cli.session import Session
from hypervisor_client.errors import ClientError

_REACHED = {
    "starting": ("starting", "running", "stopping"),
    "running": ("running", "stopping"),
}
"""The statuses that end a wait for one of them."""

_DEFAULTS = {"cpu": 1, "ram_mib": "1Gi"}


def submit(session: Session, given: Namespace) -> int:
    """Submit what a file and the options describe; return the exit code."""
    spec = _merged({**_DEFAULTS, **_of_file(given.file)}, _of_options(session, given))
    if "image" not in spec:
        raise ClientError("Say what to run: --image, or `image` in a file.")
    spec.setdefault("name", str(spec["image"]).rpartition("/")[2].partition(":")[0])
    if given.dry_run:
        return _try(session, spec)
    if spec.get("array") and given.logs:
        raise ClientError(
            "The output of an array is that of its elements: use --wait, and hv logs."
        )
    made = session.client.submit(**spec)
    array = made.get("array")  # A former release has none.
    if not (given.wait or given.logs):
        session.show(made, str(array["id"] if array else made["id"]))
        return 0
    if array:
        session.note(f"Array {array['id']} of {array['size']} deployments")
        return wait_for_all(session, {"array": array["id"]}, None)
    session.note(f"Deployment {made['id']} ({made['name']})")
    ended = follow(session, made["id"]) if given.logs else _awaited(session, made["id"])
    return _code_of(session, ended)


def wait(session: Session, given: Namespace) -> int:
    """Wait for all deployments; return the first exit code that is not 0, of a group the worst."""
    filters = selected(given)
    if filters and given.until:
        raise ClientError("--until is for deployments that are named, not for --label or --array.")
    if filters:
        return wait_for_all(session, filters, given.timeout)
    until = None if given.timeout is None else time.monotonic() + given.timeout
    reached = _REACHED.get(given.until, ())
    codes = []
    for text in given.deployments:
        left = None if until is None else max(0.0, until - time.monotonic())
        try:
            found = session.client.wait(session.deployment_of(text), *reached, timeout_s=left)
        except TimeoutError as error:
            raise ClientError(str(error)) from error
        codes.append(0 if found["status"] in reached else _code_of(session, found))
    return next((code for code in codes if code), 0)


def schema(session: Session, given: Namespace) -> None:
    print(resources.files("hypervisor_client").joinpath("job.schema.json").read_text("utf-8"))


def follow(session: Session, deployment: int) -> JSON:
    """Print the output of each run, also after evictions, until the deployment has ended."""
    client, seen = session.client, set()
    while True:
        found = client.wait(deployment, "running", "stopping")
        for run in _runs(client, deployment):
            if run not in seen:
                seen.add(run)
                for piece in client.logs(deployment, run=run, tail="all", follow=True):
                    sys.stdout.buffer.write(piece)
                    sys.stdout.buffer.flush()
        if found["status"] in ENDED:
            return found
        found = client.wait(deployment, "pending", "starting")
        if found["status"] not in ENDED:
            session.note(f"hv: {found['status_reason']}")


def _runs(client: Client, deployment: int) -> Iterator[int]:
    """Yield the ids of the runs whose containers have started, the oldest first."""
    for event in client.events(deployment):
        if event["kind"] == "running" and "run" in event["data"]:
            yield int(event["data"]["run"])


def _awaited(session: Session, deployment: int) -> JSON:
    """Wait until the deployment has ended; report each change of its status."""
    client = session.client
    found = client.deployment(deployment)
    while found["status"] not in ENDED:
        session.note(f"hv: {found['status']}: {found['status_reason']}")
        others = {"pending", "starting", "running", "stopping"} - {found["status"]}
        found = client.wait(deployment, *others)
    return found


def _code_of(session: Session, ended: JSON) -> int:
    session.note(f"hv: {ended['id']} ({ended['name']}) {ended['status']}: {ended['status_reason']}")
    return code_of(ended)


def _try(session: Session, spec: JSON) -> int:
    result = session.client.dry_run(**spec)
    session.show(result, outcome(result))
    return 0


def outcome(result: JSON) -> str:
    """Return what the dry run of a submission says."""
    lines = [f"{result['outcome']}: {result['reason']}"]
    if (forecast := result.get("forecast")) and forecast["reason"]:
        lines.append(forecast["reason"])
    if array := result.get("array"):
        lines += _elements(array)
    lines += done_for_it(result)
    lines += [f"  {c['why']}" for c in result["clusters"]]
    return "\n".join(lines)


def _elements(array: JSON) -> list[str]:
    """Return lines about the elements of an array that would start and wait."""
    limit = f", at most {array['at_once']} at once" if array["at_once"] else ""
    size = counted(array["size"], "element")
    lines = [f"{size}{limit}: {array['starting']} would start, {array['waiting']} would wait."]
    lines += [
        f"  {row['count']} {'waits' if row['count'] == 1 else 'wait'}: {row['reason']}"
        for row in array["waits"]
    ]
    done = [f"evict {array['evicted']}"] if array["evicted"] else []
    done += [f"move {array['moved']}"] if array["moved"] else []
    count = array["moved"] or array["evicted"]
    others = "deployment" if count == 1 else "deployments"
    return [*lines, f"They would {' and '.join(done)} {others}:"] if done else lines


def _of_file(name: str | None) -> JSON:
    if name is None:
        return {}
    import yaml  # Slow to import, and only for a file.

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        found = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"{name} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ClientError(f"{name} is neither YAML nor JSON: {error}") from error
    if not isinstance(found, dict):
        raise ClientError(f"{name} must have the fields of a deployment, such as `image: ml/a:1`.")
    return found


def _of_options(session: Session, given: Namespace) -> JSON:
    array = {"size": given.array, "at_once": given.at_once}
    fields = {
        "name": given.name, "image": given.image, "cpu": given.cpu, "ram_mib": _ram(given.ram),
        "gpu": given.gpu, "priority": given.priority, "organization": given.organization,
        "max_runtime_s": given.max_runtime, "command": given.words or None,
        "labels": _labels(given.label) or None,
        "array": {name: value for name, value in array.items() if value is not None} or None,
        "env": _environment(given) or None, "require": _requirements(given.require) or None,
        "requested_cluster": None if given.cluster is None else session.cluster_of(given.cluster),
        "depends_on": [session.deployment_of(text) for text in given.after or ()] or None,
        **_restarts(given.restart),
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def _merged(spec: JSON, options: JSON) -> JSON:
    """Return the fields of the file with those of the options; a mapping's entries are merged."""
    merged = dict(spec)
    for name, value in options.items():
        former = spec.get(name)
        if isinstance(value, dict) and isinstance(former, dict):
            value = {**former, **value}
        merged[name] = value
    array = merged.get("array")
    if isinstance(array, dict) and "size" not in array:
        raise ClientError("`at_once` limits an array: give its size with --array, or in the file.")
    return merged


def _restarts(times: int | None) -> JSON:
    if times is None:
        return {}
    if times == 0:
        return {"restart_policy": "never"}
    return {"restart_policy": "on-failure", "max_restarts": times}


def _ram(text: str | None) -> int | str | None:
    return int(text) if text and text.isascii() and text.isdigit() else text


def _environment(given: Namespace) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for text in given.env or ():
        name, is_given, value = text.partition("=")
        if not is_given:
            raise ClientError(f"--env {text}: write NAME=VALUE.")
        variables[name] = value
    for text in given.secret or ():
        name, is_given, value = text.partition("=")
        if not is_given and name not in os.environ:
            raise ClientError(f"--secret {name}: there is no such variable in the environment.")
        variables[name] = {"secret": value if is_given else os.environ[name]}
    return variables


def _labels(texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or ():
        name, is_given, value = text.partition("=")
        if not is_given:
            raise ClientError(f"--label {text}: write NAME=VALUE.")
        found[name] = value
    return found


def _requirements(texts: list[str] | None) -> dict[str, list[str]]:
    found = {}
    for text in texts or ():
        label, is_given, values = text.partition("=")
        if not is_given:
            raise ClientError(f"--require {text}: write LABEL=VALUE or LABEL=VALUE,VALUE.")
        found[label] = values.split(",")
    return found
