"""A real SMTP server for the tests, which keeps the mails that it accepts."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from django.test import override_settings

from hypervisor import mail_server
from hypervisor.standalone.home import free_port

PATIENCE_S = 20

OK = "250 OK"


class MailServer:
    """`reply` decides on each recipient by the address; accepted mails are in `accepted`."""

    def __init__(self, port: int) -> None:
        self.reply: Callable[[str], str] = lambda address: OK
        self.accepted: queue.Queue[EmailMessage] = queue.Queue()
        self.url = f"smtp://127.0.0.1:{port}?tls=none"

    def next(self) -> EmailMessage:
        """Return the next mail, for which it waits."""
        return self.accepted.get(timeout=PATIENCE_S)

    def text(self) -> str:
        """Return the plain text of the next mail."""
        body = self.next().get_body(("plain",))
        assert body is not None
        return str(body.get_content())

    @property
    def is_empty(self) -> bool:
        return self.accepted.empty()

    async def handle_RCPT(  # noqa: N802 named by aiosmtpd
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        answer = self.reply(address)
        if answer == OK:
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(  # noqa: N802 named by aiosmtpd
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.accepted.put(message)
        return OK


@contextmanager
def mail_server_running(port: int | None = None) -> Iterator[MailServer]:
    """Run a server in this block, at a free port unless one is given."""
    port = port or free_port()
    server = MailServer(port)
    controller = Controller(server, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


@contextmanager
def mails_go_to(server: MailServer) -> Iterator[None]:
    """Let this process send its mails to the server within this block."""
    # Instead of the backend with which Django's test environment collects mails.
    with override_settings(MAIL_IS_SENT=True, **mail_server.read(server.url)):
        yield
