"""A message for an address: as Slack and its like take it, or as Standard Webhooks says."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from deployments.models import Notice, NoticeMessage, NoticeRule
from deployments.notices.kinds import Channel
from deployments.notices.mail import Answer
from hypervisor.base.secrets import decrypt
from orgs.webhooks.attempts import Receiver
from orgs.webhooks.signing import headers

TYPE = "notice"
_LISTED = 20


def send(
    message: NoticeMessage, notices: Sequence[Notice], *, rule: NoticeRule, now: datetime
) -> Answer:
    """Send the message to the address of the rule; return what became of it.

    Raises CannotDecrypt.
    """
    signed = rule.channel == Channel.WEBHOOK
    body = json.dumps(signed_body(message, notices) if signed else slack_body(message, notices))
    return asyncio.run(_post(rule, message, body.encode(), now))


async def _post(rule: NoticeRule, message: NoticeMessage, body: bytes, now: datetime) -> Answer:
    signature: dict[str, str] = {}
    if rule.channel == Channel.WEBHOOK:
        moment = int(message.created_at.timestamp())
        signature = headers(
            f"notice_{message.pk}_{moment}",
            body,
            timestamp=int(now.timestamp()),
            keys=[decrypt(rule.secret)],
        )
    async with Receiver(decrypt(rule.url)) as receiver:
        outcome = await receiver.post(body, signature, now)
    return Answer(outcome.error, is_final=outcome.is_gone, retry_after_s=outcome.retry_after_s)


def slack_body(message: NoticeMessage, notices: Sequence[Notice]) -> dict[str, Any]:
    """Return the message as a text with Slack's links."""
    lines = [f"*{_escaped(message.subject)}*"]
    for notice in notices[:_LISTED]:
        more = f" and {notice.others:,} more likewise" if notice.count > 1 else ""
        lines.append(
            f"<{_link(notice)}|{_escaped(notice.headline)}>{more}. {_escaped(notice.detail)}"
        )
    if len(notices) > _LISTED:
        lines.append(f"{len(notices) - _LISTED:,} more are not listed.")
    return {"text": "\n".join(line.strip() for line in lines)}


def signed_body(message: NoticeMessage, notices: Sequence[Notice]) -> dict[str, Any]:
    """Return the message as `{type, timestamp, data}`."""
    return {
        "type": TYPE,
        "timestamp": _written(message.created_at),
        "data": {
            "id": message.pk,
            "subject": message.subject,
            "is_test": message.is_test,
            "notices": [_data(notice) for notice in notices[:_LISTED]],
            "not_listed": max(len(notices) - _LISTED, 0),
        },
    }


def _data(notice: Notice) -> dict[str, Any]:
    return {
        "organization": notice.organization_id,
        "deployment": notice.deployment_id,
        "kind": notice.kind,
        "headline": notice.headline,
        "detail": notice.detail,
        "count": notice.count,
        "time": _written(notice.time),
        "url": _link(notice),
    }


def _link(notice: Notice) -> str:
    return f"{settings.PUBLIC_URL}/my/deployments/{notice.deployment_id}/"


def _escaped(text: str) -> str:
    """Return the text with the three characters replaced that have a meaning for Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
