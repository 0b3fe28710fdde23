"""The receiver in docs/webhooks.md works as it stands there."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from hypervisor.standalone.home import free_port
from orgs.models import Webhook
from orgs.webhooks import services
from orgs.webhooks.signing import headers
from tests.orgs.webhooks.conftest import Add
from tests.support.receiver import wait_for
from tests.support.sending import sending

PAGE = Path(__file__).parents[3] / "docs" / "webhooks.md"


@pytest.mark.django_db(transaction=True)
def test_the_receiver_prints_messages_and_refuses_what_is_not_signed(
    add: Add, loopback_allowed: None, write: Callable[..., None]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    port = free_port()
    webhook, secret = add(f"http://127.0.0.1:{port}/", "renamed")
    environment = os.environ | {"WEBHOOK_SECRET": secret, "PORT": str(port)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    ) as receiver:
        try:
            assert receiver.stdout is not None
            services.send_test(webhook)
            with sending():
                # A test is sent once, so it may have come before the receiver listened.
                write()
                lines = iter(receiver.stdout.readline, "")
                printed = next(line for line in lines if "organization.renamed" in line)
                wait_for(lambda: Webhook.objects.get().position == 2)
            for signature in (f"v1,{'A' * 43}=", "not a signature"):
                forged = headers("evt_1", b"{}", timestamp=int(time.time()), keys=[])
                forged["webhook-signature"] = signature
                assert httpx.post(webhook.url, content=b"{}", headers=forged).status_code == 400
        finally:
            receiver.kill()
    assert printed.startswith(f"evt_{webhook.organization_id}_2_")
    assert "'kind': 'renamed'" in printed
