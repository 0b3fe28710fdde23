"""Mails that reach a real server."""

from django.core.mail import send_mail

from tests.support.mail_server import MailServer


def test_a_mail_reaches_the_server(mails: MailServer) -> None:
    send_mail("Hello", "A text.\n", None, ["ada@example.org"])

    mail = mails.next()
    assert (mail["Subject"], mail["To"]) == ("Hello", "ada@example.org")
    assert mail["From"] == "MLOps Hypervisor <hypervisor@localhost>"
    assert mails.is_empty
