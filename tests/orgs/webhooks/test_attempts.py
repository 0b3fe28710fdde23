"""One attempt over real connections: which addresses are called, and what is made of a response."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from orgs.webhooks import attempts, targets
from orgs.webhooks.addresses import Refused, check
from orgs.webhooks.attempts import Outcome, Receiver
from orgs.webhooks.sender import AT_ONCE
from tests.support.certificates import Authority
from tests.support.receiver import Reply, receiving

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
HOST = "hooks.example.org"

Resolver = Callable[..., list[Any]]


@pytest.fixture
def resolve_to(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Return a function that sets the answers of the name server for HOST, one after another.

    It returns a list with the number of questions.
    """
    real: Resolver = socket.getaddrinfo

    def set_answers(*answers: list[str]) -> list[int]:
        asked = [0]

        def answer(host: Any, port: Any, *options: Any, **named: Any) -> list[Any]:
            if host != HOST:
                return real(host, port, *options, **named)
            found = answers[min(asked[0], len(answers) - 1)]
            asked[0] += 1
            return [entry for address in found for entry in real(address, port, *options, **named)]

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        return asked

    return set_answers


def attempt(url: str, count: int = 1) -> Outcome:
    """Send messages to the URL in one turn; return what became of the last one."""

    async def send() -> Outcome:
        async with Receiver(url) as receiver:
            for number in range(count):
                body = b'{"number": %d}' % number
                outcome = await receiver.post(body, {"webhook-id": str(number)}, NOW)
            return outcome

    return asyncio.run(send())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.5.4", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "198.18.0.1", "203.0.113.7", "192.88.99.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%1", "fd00:ec2::254", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1", "2002:7f00:1::1", "2001:0:7f00:1::1", "2001:db8::1", "3fff::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(Refused, match="not public"):
        check(address, with_tls=True)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_a_public_address_is_called_with_tls_only(address: str) -> None:
    assert check(address, with_tls=True) == address.removeprefix("::ffff:")
    with pytest.raises(Refused, match="https"):
        check(address, with_tls=False)


def test_the_operator_allows_a_network_also_without_tls(settings: Settings) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("10.1.0.0/16"), ip_network("fd00:1::/64")]
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5"):
        check(address, with_tls=False)
    for address in ("10.2.0.1", "fd00:2::5"):
        with pytest.raises(Refused):
            check(address, with_tls=False)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("ftp://example.org", "begins with https://"),
        ("example.org/hook", "begins with https://"),
        ("https:///hook", "has a host"),
        ("https://exa mple.org/", "not the name of a host"),
        ("https://example.org:99999/", "to 65535"),
        ("https://example.org:x/", "not a URL"),
        ("https://user:word@example.org/", "Leave the user and the password out"),
        ("https://example.org/#part", "Leave the fragment"),
        ("https://example.org:25/", "use 443, or a port from 1024"),
        ("http://example.org/", "https instead of http"),
        ("https://127.0.0.1/", "not public"),
        ("https://[::1]:8443/", "not public"),
        ("https://[2606:4700::1111%25eth0]/", "Leave the zone"),
        ("https://[2606:4700::1111%eth0]/", "Leave the zone"),
        ("http://93.184.216.34/", "Change it to https"),
        ("https://example.org:0/", "Port 0 is refused"),
        ("https://2130706433/", "not an IPv4 address"),
        ("https://0x7f.1:8443/", "not an IPv4 address"),
        ("https://127.0.0.1./", "not an IPv4 address"),
        ("https://xn--a/", "not a URL"),
        ("https://" + "a" * 2000 + ".org", "at most 2000"),
    ],
)  # fmt: skip
def test_a_bad_url_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        targets.checked(url)


@pytest.mark.parametrize("url", ["https://example.org", "https://example.org:8443/a?b=c"])
def test_a_good_url_stays_as_it_is(url: str) -> None:
    assert targets.checked(url) == url


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "localhost"])
def test_no_way_to_write_loopback_reaches_it(host: str) -> None:
    with receiving() as receiver:
        outcome = attempt(f"http://{host}:{receiver.port}/")
    assert (outcome.status, "not public" in outcome.error) == (None, True), outcome
    assert receiver.connections == 0


def test_one_private_address_among_public_ones_refuses_all(
    resolve_to: Callable[..., list[int]],
) -> None:
    with receiving() as receiver:
        resolve_to(["93.184.216.34", "127.0.0.1"])
        outcome = attempt(f"https://{HOST}:{receiver.port}/")
    assert "not public" in outcome.error
    assert receiver.connections == 0


def test_a_name_that_changes_its_address_is_called_at_the_one_that_was_checked(
    loopback_allowed: None, resolve_to: Callable[..., list[int]]
) -> None:
    with receiving() as checked, receiving(address="127.0.0.2", port=checked.port) as other:
        asked = resolve_to(["127.0.0.1"], ["127.0.0.2"])
        outcome = attempt(f"http://{HOST}:{checked.port}/", count=3)

    assert outcome == Outcome(204)
    assert asked == [1]
    assert {request.headers["host"] for request in checked.take(3)} == {f"{HOST}:{checked.port}"}
    assert (checked.connections, other.connections) == (1, 0)


def test_the_next_address_is_tried_if_the_first_does_not_accept_connections(
    loopback_allowed: None, resolve_to: Callable[..., list[int]]
) -> None:
    with receiving() as receiver:
        resolve_to(["127.0.0.9", "127.0.0.1"])
        assert attempt(f"http://{HOST}:{receiver.port}/").is_delivered


def test_name_servers_that_hang_do_not_delay_other_attempts(
    loopback_allowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "TOTAL_S", 10.0)
    real, answered = socket.getaddrinfo, threading.Event()

    def hang(host: Any, *options: Any, **named: Any) -> list[Any]:
        if host == HOST:
            answered.wait()
            raise socket.gaierror
        return real(host, *options, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def post(url: str) -> Outcome:
        async with Receiver(url) as receiver:
            return await receiver.post(b"{}", {}, NOW)

    async def send(url: str) -> Outcome:
        hanging = [asyncio.create_task(post(f"https://{HOST}/")) for _ in range(AT_ONCE - 1)]
        await asyncio.sleep(0)
        try:
            return await post(url)
        finally:
            answered.set()
            await asyncio.gather(*hanging)

    with receiving() as receiver:
        outcome = asyncio.run(send(receiver.url))
    assert outcome.is_delivered, outcome


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """The only authority that the process trusts."""
    authority = Authority()
    (tmp_path / "authority.pem").write_text(authority.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    attempts._tls.cache_clear()
    yield authority
    attempts._tls.cache_clear()


def test_tls_verifies_the_name_although_the_address_is_called(
    loopback_allowed: None, resolve_to: Callable[..., list[int]], authority: Authority
) -> None:
    resolve_to(["127.0.0.1"])
    with receiving(tls=authority.issue("server", HOST)) as receiver:
        assert attempt(f"https://{HOST}:{receiver.port}/") == Outcome(204)
        assert attempt(receiver.url) == Outcome(204)
    with receiving(tls=authority.issue("server", "other.example.org")) as receiver:
        outcome = attempt(f"https://{HOST}:{receiver.port}/")
    assert "certificate is not valid" in outcome.error
    assert HOST in outcome.error


def test_an_unknown_authority_is_refused(
    loopback_allowed: None, resolve_to: Callable[..., list[int]], authority: Authority
) -> None:
    resolve_to(["127.0.0.1"])
    with receiving(tls=Authority().issue("server", HOST)) as receiver:
        outcome = attempt(f"https://{HOST}:{receiver.port}/")
    assert "certificate is not valid" in outcome.error
    assert receiver.received.empty()


def test_redirects_are_not_followed(loopback_allowed: None) -> None:
    with receiving() as target:
        redirect = Reply(307, {"Location": target.url})
        with receiving(lambda _: redirect) as receiver:
            outcome = attempt(receiver.url)
    assert outcome.status == 307
    assert "change the URL" in outcome.error
    assert target.connections == 0


@pytest.mark.parametrize(
    ("flood", "has_tls"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" * 1000, True),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000, False),
    ],
    ids=["continue", "hints", "head"],
)
def test_a_flood_before_the_response_ends_the_attempt(
    loopback_allowed: None, authority: Authority, flood: bytes, has_tls: bool
) -> None:
    tls = authority.issue("server", HOST) if has_tls else None
    with receiving(lambda _: Reply(flood=flood), tls=tls) as receiver:
        outcome = attempt(receiver.url, count=2)
    assert outcome == Outcome(error="The receiver sent more than 64 KiB before its response.")
    assert receiver.connections == 2


def test_each_response_of_a_connection_may_be_long(loopback_allowed: None) -> None:
    with receiving(lambda _: Reply(200, body=b"x" * 60_000)) as receiver:
        assert attempt(receiver.url, count=3) == Outcome(200)
    assert receiver.connections == 1


def test_an_endless_body_is_not_read_and_does_not_matter(loopback_allowed: None) -> None:
    endless = Reply(200, body=b"x" * 1_000_000)
    with receiving(lambda _: endless) as receiver:
        assert attempt(receiver.url, count=2) == Outcome(200)
    assert receiver.connections == 2


def test_a_receiver_that_sends_its_response_slowly_is_given_up_in_time(
    loopback_allowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "TOTAL_S", 0.3)
    never = threading.Event()
    with receiving(lambda _: Reply(wait=never)) as receiver:
        outcome = attempt(receiver.url)
        never.set()
    assert "no response within" in outcome.error


@pytest.mark.parametrize(
    ("reply", "wait_s"),
    [
        (Reply(429, {"Retry-After": "120"}), 120),
        (Reply(503, {"Retry-After": "Mon, 05 Jan 2026 09:01:00 GMT"}), 60),
        (Reply(503, {"Retry-After": "soon"}), None),
        (Reply(500, {"Retry-After": "120"}), None),
    ],
)
def test_a_receiver_asks_for_a_later_attempt(
    loopback_allowed: None, reply: Reply, wait_s: int | None
) -> None:
    with receiving(lambda _: reply) as receiver:
        outcome = attempt(receiver.url)
    assert (outcome.status, outcome.retry_after_s) == (reply.status, wait_s)
    assert f"status {reply.status}" in outcome.error


def test_what_cannot_be_reached_has_a_reason(
    loopback_allowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "does not accept connections" in attempt(f"http://127.0.0.1:{port}/").error
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "cannot be resolved" in attempt(f"https://{HOST}/").error
