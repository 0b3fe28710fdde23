"""What a mail server's URL means."""

from hypervisor import mail_server


def test_a_mail_server_is_spoken_to_with_starttls_unless_its_url_says_otherwise() -> None:
    usual = mail_server.read("smtp://hv:p%40ss@mail.example.org")
    tls = mail_server.read("smtps://mail.example.org:4465")
    plain = mail_server.read("smtp://localhost:25?tls=none")

    assert (usual["EMAIL_USE_TLS"], usual["EMAIL_USE_SSL"], usual["EMAIL_PORT"]) == (
        True,
        False,
        587,
    )
    assert (usual["EMAIL_HOST_USER"], usual["EMAIL_HOST_PASSWORD"]) == ("hv", "p@ss")
    assert (tls["EMAIL_USE_TLS"], tls["EMAIL_USE_SSL"], tls["EMAIL_PORT"]) == (False, True, 4465)
    assert (plain["EMAIL_USE_TLS"], plain["EMAIL_USE_SSL"], plain["EMAIL_PORT"]) == (
        False,
        False,
        25,
    )


def test_without_a_mail_server_no_mail_is_sent() -> None:
    assert mail_server.read("")["EMAIL_BACKEND"].endswith("dummy.EmailBackend")
