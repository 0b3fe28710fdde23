"""Followers of events over real connections, with one event loop and no thread for each."""

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import DatabaseError, connections

from accounts.models import User
from hypervisor.web import feeds, followers
from hypervisor.web.bridge import Bridge
from hypervisor.web.followers import Followers
from hypervisor.web.forwarding import Forwarding
from orgs.events import record
from orgs.feed.reading import newer
from orgs.models import Membership, Organization, Role
from tests.fixtures.log_in import LogIn
from tests.support.asgi import serving
from tests.support.factories import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_S = 60
LIMIT = 40


class Follower:
    """A caller of `/events/stream`."""

    def __init__(self, url: str, token: str, after: int | str | None = None) -> None:
        self._connection = connect(url)
        headers = {"Authorization": f"Bearer {token}"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        self._connection.request("GET", "/events/stream", headers=headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        assert self._response.headers["Content-Type"] == "text/event-stream"
        self.position = after
        self._message()  # the position from which it follows

    def next(self, count: int) -> list[int]:
        """Return the numbers of the next events, which are also their ids."""
        found: list[int] = []
        while len(found) < count:
            message = self._message()
            if "data" in message:
                number = json.loads(message["data"])["number"]
                assert message["id"] == str(number)
                found.append(number)
        return found

    def is_over(self) -> bool:
        """Wait for the end of the stream, and return whether no event came before."""
        return not any("data" in message for message in iter(self._message, {}))

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def _message(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        while line := self._response.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        if "id" in fields:
            self.position = fields["id"]
        return fields


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)


def get(url: str, token: str, path: str) -> tuple[int, Any]:
    with closing(connect(url)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@contextmanager
def events_process(limit: int = LIMIT) -> Iterator[str]:
    """Serve the application as the `events` process does."""

    def django(*arguments: Any) -> Any:
        try:
            return WSGIHandler()(*arguments)
        finally:
            connections.close_all()

    served = Followers(limit)
    bridge = Bridge(django, threads=2, streams=1, body_limit=1000, followers=served)
    try:
        with serving(bridge) as url:
            yield url
    finally:
        for pool in (served._feeds._for_new, served._feeds._for_followers):
            pool.submit(connections.close_all).result(PATIENCE_S)


@pytest.fixture
def url() -> Iterator[str]:
    with events_process() as address:
        yield address


@pytest.fixture
def token(acme: Organization, dora: User, log_in: LogIn) -> str:
    Membership.objects.create(organization=acme, user=dora, role=Role.VIEWER)
    return str(log_in().json()["access_token"])


@pytest.fixture
def write(acme: Organization) -> Callable[..., None]:
    def write_many(count: int = 1) -> None:
        for _ in range(count):
            record(acme, "renamed", "alice")

    return write_many


def test_events_arrive_as_they_happen(url: str, token: str, write: Callable[..., None]) -> None:
    write()
    with closing(Follower(url, token)) as follower:
        assert follower.position == "1"
        write(2)
        assert follower.next(2) == [2, 3]
        write()
        assert follower.next(1) == [4]


def test_a_follower_resumes_after_a_restart_where_it_was(
    token: str, write: Callable[..., None]
) -> None:
    with events_process() as url:
        follower = Follower(url, token, after=0)
        write(3)
        assert follower.next(2) == [1, 2]
    follower.close()
    write(2)

    with events_process() as url, closing(Follower(url, token, after=2)) as follower:
        assert follower.next(3) == [3, 4, 5]


def test_a_follower_that_is_far_behind_catches_up(
    url: str, token: str, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orgs.feed.reading.WINDOW", 4)
    write(15)
    with closing(Follower(url, token, after=0)) as follower:
        write(3)
        assert follower.next(18) == list(range(1, 19))
        write()
        assert follower.next(1) == [19]


def test_many_followers_of_one_user_and_others_need_no_threads(
    url: str, token: str, write: Callable[..., None]
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(closing(Follower(url, token)))
        write()
        first.next(1)
        before = threading.active_count()
        crowd = [stack.enter_context(closing(Follower(url, token))) for _ in range(8)]
        write(5)
        assert [each.next(5) for each in crowd] == [[2, 3, 4, 5, 6]] * 8
        assert threading.active_count() < before + len(crowd)


def test_a_long_poll_ends_with_the_next_event(
    url: str, token: str, write: Callable[..., None]
) -> None:
    write()
    with closing(connect(url)) as connection:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("GET", "/events?after=1&wait=60", headers=headers)
        with closing(Follower(url, token)) as follower:  # the poll is being served by now
            write()
            assert follower.next(1) == [2]
        answer = json.loads(connection.getresponse().read())

    assert [event["number"] for event in answer["events"]] == [2]
    assert answer["after"] == 2


def test_a_long_poll_without_an_event_ends_when_its_time_is_over(
    url: str, token: str, write: Callable[..., None]
) -> None:
    write()

    assert get(url, token, "/events?after=1&wait=1") == (200, {"events": [], "after": 1})


def test_a_quiet_stream_says_that_it_is_alive_and_where_to_resume(
    url: str, token: str, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "ALIVE_S", 0.05)
    write()
    with closing(Follower(url, token)) as follower:
        assert follower._message() == {"": "alive", "id": "1"}


def test_a_stream_ends_when_the_membership_ends(
    url: str, token: str, dora: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "CHECK_S", 0.05)
    with closing(Follower(url, token)) as follower:
        Membership.objects.filter(user=dora).delete()
        assert follower.is_over()

    assert get(url, token, "/events")[0] == 400


def test_a_stream_ends_when_the_password_changes(
    url: str, token: str, dora: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "CHECK_S", 0.05)
    with closing(Follower(url, token)) as follower:
        dora.set_password(f"another {PASSWORD}")
        dora.save()
        assert follower.is_over()

    assert get(url, token, "/events")[0] == 401


def test_a_check_that_waits_for_others_delays_no_event(
    url: str, token: str, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = threading.Event()

    async def waiting(*_: object) -> bool:
        started.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(followers, "CHECK_S", 3600)
    monkeypatch.setattr(followers, "uniform", lambda *_: 0)
    monkeypatch.setattr(feeds.Feeds, "query", waiting)
    with closing(Follower(url, token)) as follower:
        write()
        assert follower.next(1) == [1]
        assert started.wait(PATIENCE_S)
        write()
        assert follower.next(1) == [2]


def test_a_user_has_at_most_a_quarter_of_the_followers(token: str) -> None:
    with events_process(limit=8) as url, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(closing(Follower(url, token)))

        status, answer = get(url, token, "/events/stream")

        assert (status, answer["errors"][0]["code"]) == (429, "busy")
        assert get(url, token, "/events")[0] == 200


def test_followers_survive_an_outage_of_the_database(
    url: str, token: str, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def fail_once(positions: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise DatabaseError("the server is gone")
        return newer(positions)

    monkeypatch.setattr(feeds, "newer", fail_once)
    monkeypatch.setattr(feeds, "OUTAGE_S", 0.05)
    with closing(Follower(url, token)) as follower:
        assert failed.wait(PATIENCE_S)
        write()
        assert follower.next(1) == [1]


# --- One address for all callers ------------------------------------------------------------------


@contextmanager
def web_server(events_url: str) -> Iterator[str]:
    """Serve as a web process does that forwards followers; it answers other calls with 404."""

    def nothing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("404 Not Found", [("Content-Length", "2")])
        return [b"{}"]

    bridge = Bridge(nothing, threads=1, streams=1, body_limit=1000, followers=Followers(1))
    with serving(Forwarding(bridge, events_url, limit=3)) as url:
        yield url


def test_the_web_server_forwards_followers(
    url: str, token: str, write: Callable[..., None]
) -> None:
    write()
    with web_server(url) as web, closing(Follower(web, token, after=0)) as follower:
        write()
        assert follower.next(2) == [1, 2]
        status, page = get(web, token, "/events?after=0&wait=5")
        assert (status, [event["number"] for event in page["events"]]) == (200, [1, 2])
        assert get(web, "wrong", "/events")[0] == 401
        assert get(web, token, "/events?after=9")[0] == 410
        assert get(web, token, "/elsewhere")[0] == 404


def test_without_the_events_process_a_follower_gets_503(token: str) -> None:
    with events_process() as gone:
        pass
    with web_server(gone) as web:
        status, answer = get(web, token, "/events")

    assert (status, answer["errors"][0]["code"]) == (503, "events_unavailable")


def test_a_forwarded_stream_ends_with_the_events_process_and_resumes(
    token: str, write: Callable[..., None]
) -> None:
    with ExitStack() as stack:
        with events_process() as url:
            web = stack.enter_context(web_server(url))
            follower = stack.enter_context(closing(Follower(web, token, after=0)))
            write()
            assert follower.next(1) == [1]
        assert follower.is_over()
    write()

    with (
        events_process() as url,
        web_server(url) as web,
        closing(Follower(web, token, after=follower.position)) as resumed,
    ):
        assert resumed.next(1) == [2]


def test_a_web_process_forwards_only_so_many(url: str, token: str) -> None:
    with web_server(url) as web, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(closing(Follower(web, token)))

        assert get(web, token, "/events")[0] == 429
