"""Secrets and signatures, as the reference library of Standard Webhooks verifies them."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from orgs.webhooks.signing import headers, new_secret


def test_a_message_is_signed_with_both_secrets() -> None:
    new, former, body = new_secret(), new_secret(), '{"type":"ping","a":"ü"}'.encode()
    signed = headers(
        "evt_1", body, timestamp=int(datetime.now(UTC).timestamp()), keys=[new, former]
    )

    for secret in (new, former):
        assert Verifier(secret).verify(body, signed)["type"] == "ping"
    with pytest.raises(WebhookVerificationError):
        Verifier(new_secret()).verify(body, signed)
    with pytest.raises(WebhookVerificationError):
        Verifier(new).verify(body.replace(b"ping", b"pong"), signed)
