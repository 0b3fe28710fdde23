"""Events as they are sent: `{type, timestamp, data}`."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from orgs.feed.reading import Item

TEST = "ping"
"""The kind of a message that an admin sends to try a webhook."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message with its `webhook-id`, which is the same at each attempt."""

    id: str
    body: bytes


def of_event(organization_id: int, item: Item) -> Message:
    """Return the event as `GET /events` returns it, in a message.

    The time is part of the id, because a database that was restored from a backup assigns numbers
    again.
    """
    return Message(
        f"evt_{organization_id}_{item.number}_{int(item.time.timestamp())}",
        b'{"type":"%s.%s","timestamp":"%s","data":%s}'
        % (item.subject.encode(), item.kind.encode(), _written(item.time), item.json),
    )


def of_test(organization_id: int, webhook_id: int, delivery_id: int, time: datetime) -> Message:
    data = {"organization": organization_id, "webhook": webhook_id}
    body = {"type": TEST, "timestamp": _written(time).decode(), "data": data}
    return Message(f"test_{delivery_id}", json.dumps(body, separators=(",", ":")).encode())


def _written(time: datetime) -> bytes:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z").encode()
