"""The function with which a receiver verifies messages, compared with the reference library."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypervisor_client.webhooks import NotVerified, verify
from standardwebhooks import Webhook as Signer

from orgs.webhooks.signing import headers, new_secret

SECRET = new_secret()
BODY = json.dumps({"type": "ping", "data": {"text": "grüß dich"}})


def signed(at: datetime, secret: str = SECRET) -> dict[str, str]:
    return {
        "Webhook-Id": "evt_1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": f"v0,old {Signer(secret).sign('evt_1', at, BODY)}",
    }


def test_a_signed_message_is_returned() -> None:
    now = datetime.now(UTC)
    assert verify(BODY, signed(now), SECRET)["type"] == "ping"
    assert verify(BODY.encode(), signed(now), SECRET) == json.loads(BODY)
    rotated = headers(
        "evt_1", BODY.encode(), timestamp=int(now.timestamp()), keys=[new_secret(), SECRET]
    )
    assert verify(BODY, rotated, SECRET)["type"] == "ping"


@pytest.mark.parametrize(
    ("body", "minutes", "changed", "secret", "reason"),
    [
        (BODY + " ", 0, {}, SECRET, "No signature"),
        (BODY, 0, {}, new_secret(), "No signature"),
        (BODY, 6, {}, SECRET, "too old"),
        (BODY, 0, {"Webhook-Id": None}, SECRET, "'webhook-id' is missing"),
        (BODY, 0, {"Webhook-Timestamp": "x"}, SECRET, "wrong format"),
    ],
)
def test_another_message_is_refused(
    body: str, minutes: int, changed: dict[str, str | None], secret: str, reason: str
) -> None:
    sent = signed(datetime.now(UTC) - timedelta(minutes=minutes)) | changed
    given = {name: value for name, value in sent.items() if value is not None}

    with pytest.raises(NotVerified, match=reason):
        verify(body, given, secret)
