"""Look at one deployment, and change deployments."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from hypervisor_client.api import JSON
from hypervisor_client.cli.amounts import amounts
from hypervisor_client.cli.ending import end_all
from hypervisor_client.cli.groups import change, would
from hypervisor_client.cli.preview import done_for_it, summary
from hypervisor_client.cli.selection import selected
from hypervisor_client.cli.session import Session, table
from hypervisor_client.errors import ApiError, ClientError, NotOne

_FIELDS = (
    "id", "name", "labels", "array", "status", "status_reason", "image", "command", "priority",
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
    forecast = found.get("forecast")
    if forecast and forecast["reason"] and found["code"] != "next_cycle":
        lines.append(forecast["reason"])
    lines += _ahead(found["ahead"])
    lines += done_for_it(found)
    lines += [text for text in found["waits_for"] if text != found["reason"]]
    for cluster in found["clusters"]:
        lines.append(f"  {cluster['why']}")
        lines += [f"    {node['name']}: {node['why']}" for node in cluster["nodes"]]
    session.show(found, "\n".join(lines))


def _ahead(ahead: JSON | None) -> list[str]:
    """Return a line with the first of those that are before it in the queue."""
    if not ahead or not ahead["count"]:
        return []
    names = [f"{d['name']} ({d['deployment']}, priority {d['priority']})" for d in ahead["first"]]
    more = ahead["count"] - len(names)
    return [f"Ahead: {', '.join(names)}" + (f" and {more} more." if more else ".")]


def events(session: Session, given: Namespace) -> None:
    deployment = None if given.deployment is None else session.deployment_of(given.deployment)
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


def priority(session: Session, given: Namespace) -> int:
    given.deployments = given.deployment is not None and [given.deployment]
    filters = selected(given)
    if filters:
        return change(session, given, filters, priority=given.priority)
    deployment = session.deployment_of(given.deployment)
    changed = session.client.change(deployment, dry_run=given.dry_run, priority=given.priority)
    who, has = f"{deployment} ({changed['name']})", f"priority {changed['priority']}."
    text = f"{who} has {has}"
    if given.dry_run:
        text = summary(f"{who} would have {has}", changed)
    session.show(changed, text)
    return 0


def each(session: Session, given: Namespace) -> int:
    """Carry the command out for each deployment, also after a failure; return 1 if one failed."""
    filters = selected(given) if given.command != "delete" else {}
    if filters:
        take = end_all if given.command == "stop" else change
        return take(session, given, filters)
    if given.dry_run:
        is_group = len(given.deployments) > 1 and given.command != "delete"
        return _try_together(session, given) if is_group else _try_each(session, given)
    results = [_carry_out(session, text, given.command) for text in given.deployments]
    done = [result for result in results if result]
    rows = [dict(zip(("id", "status", "status_reason"), result)) for result in done]
    if rows or session.as_json:
        session.show(rows, "\n".join(f"{i}: {status}. {why}".strip() for i, status, why in done))
    return 0 if len(done) == len(results) else 1


def _try_each(session: Session, given: Namespace) -> int:
    """Try the command for each deployment by itself; return 1 if one would be refused."""
    results = [
        (text, _answer_to(session, text, given.command, dry_run=True)) for text in given.deployments
    ]
    found = [(text, answer) for text, answer in results if answer is not None]
    texts = [summary(_would(text, answer), answer) for text, answer in found]
    if found or session.as_json:
        session.show([answer for _, answer in found], "\n".join(texts))
    return 0 if len(found) == len(results) else 1


def _try_together(session: Session, given: Namespace) -> int:
    """Try the command for all in one call, because together they free more than each by itself."""
    ids = [_id_of(session, text) for text in given.deployments]
    texts = {n: text for n, text in zip(ids, given.deployments) if n is not None}
    if not texts:
        return 1
    result = session.client.act_on_all(given.command, {"id": list(texts)}, dry_run=True)
    session.show([result], summary(would(result, given.command), result))
    unchanged = {each["deployment"] for each in result["skipped"] if each["code"] == "unchanged"}
    left = set(texts) - set(result["deployments"]) - unchanged
    # Refused ones by themselves, for the error that the command would report.
    refused = [_answer_to(session, texts[n], given.command, dry_run=True) for n in sorted(left)]
    return 1 if None in ids or None in refused else 0


def _id_of(session: Session, text: str) -> int | None:
    """Return the id of a deployment; None after a reported error."""
    try:
        return session.deployment_of(text)
    except NotOne as error:
        _report(session, text, error)
        return None


def _report(session: Session, text: str, error: ClientError) -> None:
    session.note(f"hv: {text}: {error}" if text else f"hv: {error}")


def _would(text: str, answer: JSON) -> str:
    if "id" not in answer:
        return f"{text} would be deleted."
    state = "on hold" if answer["status_code"] == "held" else answer["status"]
    return f"{answer['id']} ({answer['name']}) would be {state}."


def _carry_out(session: Session, text: str, verb: str) -> tuple[int, str, str] | None:
    """Return the id, the new status and its reason; None after a reported failure."""
    found = _answer_to(session, text, verb)
    if found is None:
        return None
    if verb == "delete":
        return int(found["id"]), "deleted", ""
    return found["id"], found["status"], found["status_reason"]


def _answer_to(session: Session, text: str, verb: str, *, dry_run: bool = False) -> JSON | None:
    """Return the service's answer, of a deletion at least the id; None after a reported error."""
    try:
        deployment = session.deployment_of(text)
        if verb == "delete":
            return session.client.delete(deployment, dry_run=dry_run) or {"id": deployment}
        return session.client.act(deployment, verb, dry_run=dry_run)
    except (ApiError, NotOne) as error:
        _report(session, text, error)
        return None
