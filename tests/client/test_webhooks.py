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
    ("body", "given", "secret", "reason"),
    [
        (BODY + " ", signed(datetime.now(UTC)), SECRET, "No signature"),
        (BODY, signed(datetime.now(UTC)), new_secret(), "No signature"),
        (BODY, signed(datetime.now(UTC) - timedelta(minutes=6)), SECRET, "too old"),
        (BODY, {}, SECRET, "'webhook-id' is missing"),
        (BODY, {**signed(datetime.now(UTC)), "Webhook-Timestamp": "x"}, SECRET, "wrong format"),
    ],
)
def test_another_message_is_refused(
    body: str, given: dict[str, str], secret: str, reason: str
) -> None:
    with pytest.raises(NotVerified, match=reason):
        verify(body, given, secret)
