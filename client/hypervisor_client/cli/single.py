"""Look at one deployment, and change deployments."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from hypervisor_client.api import JSON
from hypervisor_client.cli.amounts import amounts
from hypervisor_client.cli.session import Session, table
from hypervisor_client.errors import ApiError, ClientError, NotOne

_FIELDS = (
    "id", "name", "labels", "status", "status_reason", "image", "command", "priority",
    "preemptions", "restarts", "exit_code", "created_at", "queued_at", "placed_at", "started_at",
    "finished_at",
)  # fmt: skip


def show(session: Session, given: Namespace) -> None:
    found = session.client.deployment(session.deployment_of(given.deployment))
    node = found["node"] and found["node"]["name"]
    rows = [(name, _text(found[name])) for name in _FIELDS if found[name] not in (None, [], "", {})]
    rows += [("request", amounts(found)), ("cluster", found["cluster"]), ("node", node)]
    lines = [f"{name + ':':15}{value}" for name, value in rows if value is not None]
    session.show(found, "\n".join(lines))


def _text(value: Any) -> Any:
    return ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value


def explain(session: Session, given: Namespace) -> None:
    found = session.client.explain(session.deployment_of(given.deployment))
    lines = [f"{found['status']}: {found['reason']}"]
    if found["position"]:
        lines.append(f"Position {found['position']} of {found['queue_length']} in the queue.")
    lines += [text for text in found["waits_for"] if text != found["reason"]]
    for cluster in found["clusters"]:
        lines.append(f"  {cluster['why']}")
        lines += [f"    {node['name']}: {node['why']}" for node in cluster["nodes"]]
    session.show(found, "\n".join(lines))


def events(session: Session, given: Namespace) -> None:
    deployment = given.deployment and session.deployment_of(given.deployment)
    if given.follow:
        _follow(session, given, deployment)
        return
    if deployment is None:
        raise ClientError("Name a deployment, or follow the events of all with `hv events -f`.")
    rows = list(session.client.events(deployment))
    cells = [(_time(e), e["kind"], e["actor"], e["reason"]) for e in rows]
    session.show(rows, table(("TIME (UTC)", "EVENT", "BY", "REASON"), cells))


def _follow(session: Session, given: Namespace, deployment: int | None) -> None:
    """Print each event on a line of its own, as JSON if that is wanted."""
    filters = {
        "deployment": deployment, "kinds": given.kinds, "organization": given.organization
    }  # fmt: skip
    wanted = {name: value for name, value in filters.items() if value is not None}
    for event in session.client.follow(after=given.after, **wanted):
        about = f"{event['subject']} {event['subject_id']}"
        session.show(event, f"{_time(event)}  {event['kind']:12}  {about:16}  {event['reason']}")
        sys.stdout.flush()


def _time(event: JSON) -> str:
    return str(event["time"][:19]).replace("T", " ")


def logs(session: Session, given: Namespace) -> None:
    deployment = session.deployment_of(given.deployment)
    pieces = session.client.logs(
        deployment, tail=given.tail or "", run=given.run, follow=given.follow
    )
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def api(session: Session, given: Namespace) -> None:
    text = sys.stdin.read() if given.body == "-" else given.body
    try:
        body = None if text is None else json.loads(text)
    except ValueError as error:
        raise ClientError(f"The body is not JSON: {error}") from error
    answer = session.client.call(given.method, given.path, body=body)
    if answer is not None:
        print(json.dumps(answer, ensure_ascii=False))


def priority(session: Session, given: Namespace) -> None:
    deployment = session.deployment_of(given.deployment)
    changed = session.client.change(deployment, priority=given.priority)
    session.show(changed, f"{deployment} ({changed['name']}) has priority {changed['priority']}.")


def each(session: Session, given: Namespace) -> int:
    """Carry the command out for each deployment, also after a failure; return 1 if one failed."""
    results = [_carry_out(session, text, given.command) for text in given.deployments]
    done = [result for result in results if result]
    rows = [dict(zip(("id", "status", "status_reason"), result)) for result in done]
    if rows or session.as_json:
        session.show(rows, "\n".join(f"{i}: {status}. {why}".strip() for i, status, why in done))
    return 0 if len(done) == len(results) else 1


def _carry_out(session: Session, text: str, verb: str) -> tuple[int, str, str] | None:
    """Return the id, the new status and its reason; None after a reported failure."""
    try:
        deployment = session.deployment_of(text)
        if verb == "delete":
            session.client.delete(deployment)
            return deployment, "deleted", ""
        found = session.client.act(deployment, verb)
    except (ApiError, NotOne) as error:
        session.note(f"hv: {text}: {error}")
        return None
    return deployment, found["status"], found["status_reason"]
