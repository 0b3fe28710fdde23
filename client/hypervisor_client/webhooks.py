"""Verify messages that a webhook has received, as Standard Webhooks says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from hypervisor_client.errors import ClientError

TOLERANCE_S = 300
"""How far the time of a message may be from that of this machine."""

_PREFIX = "whsec_"


class NotVerified(ClientError):
    """A message that the service has not signed with this secret, or not lately."""


def verify(payload: bytes | str, headers: Mapping[str, str], secret: str) -> dict[str, Any]:
    """Return the message, `{type, timestamp, data}`, if its signature is valid.

    - payload: the body as it came.
    - headers: those of the request, in any case; the three `webhook-…` are read.
    - secret: `whsec_…`, as the service returned it.

    Raises NotVerified for everything else, which a receiver answers with 400.
    """
    body = payload.encode() if isinstance(payload, str) else payload
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent_at = given["webhook-id"], given["webhook-timestamp"]
        signatures = given["webhook-signature"].split(" ")
        age_s = abs(time.time() - int(sent_at))
        key = base64.b64decode(secret[len(_PREFIX) :] if secret.startswith(_PREFIX) else secret)
    except KeyError as missing:
        raise NotVerified(f"The header {missing} is missing.") from None
    except (ValueError, binascii.Error):
        raise NotVerified("The time or the secret has a wrong format.") from None
    if age_s > TOLERANCE_S:
        raise NotVerified("The message is too old, or a clock is wrong.")
    signed = f"{message_id}.{sent_at}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    if not any(hmac.compare_digest(expected, each.encode()) for each in signatures):
        raise NotVerified("No signature fits the secret.")
    message: dict[str, Any] = json.loads(body)
    return message
