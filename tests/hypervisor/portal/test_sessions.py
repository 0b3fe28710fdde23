"""The sessions and log-ins of a person."""

import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings as configured
from django.contrib.sessions.backends.base import UpdateError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import services as people
from accounts.models import BrowserSession, User
from accounts.sessions.engine import SessionStore
from accounts.tasks import purge_sessions
from tests.fixtures.log_in import LogIn
from tests.support.factories import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rates")]

PAGE = "/account/sessions/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
    " Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)


def browser(user: str = "dora", agent: str = FIREFOX, address: str = "192.0.2.1") -> Client:
    """Return a browser in which the person is signed in."""
    client = Client(headers={"User-Agent": agent}, REMOTE_ADDR=address)
    form = {"username": user, "password": PASSWORD}
    assert client.post("/account/sign-in/", form).status_code == 302
    return client


def is_signed_in(client: Client) -> bool:
    return client.get(PAGE).status_code == 200


def test_a_person_sees_the_own_sessions_and_log_ins(dora: User, log_in: LogIn) -> None:
    log_in()
    browser(agent=SAFARI, address="192.0.2.2")

    page = browser().get(PAGE)

    shown = [(each["browser"], each["row"].address) for each in page.context["sessions"]]
    assert shown == [("Firefox on Linux", "192.0.2.1"), ("Safari on iOS", "192.0.2.2")]
    assert [each["is_present"] for each in page.context["sessions"]] == [True, False]
    assert len(page.context["log_ins"]) == 1


def test_a_person_ends_one_session(dora: User) -> None:
    lost, own = browser(agent=SAFARI), browser()
    pk = BrowserSession.objects.get(browser=SAFARI).pk

    own.post(PAGE, {"session": pk})

    assert (is_signed_in(lost), is_signed_in(own)) == (False, True)


def test_a_person_ends_all_others(dora: User, log_in: LogIn, alice: User) -> None:
    log_in()
    lost, own = browser(), browser()
    alice.set_password(PASSWORD)
    alice.save()
    theirs = browser("alice")

    own.post(PAGE)

    assert (is_signed_in(lost), is_signed_in(own), is_signed_in(theirs)) == (False, True, True)
    assert not dora.token_families.exists()


@pytest.mark.parametrize("name", ["session", "log_in"])
@pytest.mark.parametrize("value", ["theirs", "unknown", "1", "a\0b"])
def test_nobody_ends_what_belongs_to_another_one(
    dora: User, alice: User, log_in: LogIn, name: str, value: str
) -> None:
    alice.set_password(PASSWORD)
    alice.save()
    theirs = browser("alice")
    log_in("alice")
    if value == "theirs":
        rows: Any = alice.browser_sessions if name == "session" else alice.token_families
        value = str(rows.get().pk)

    page = browser().post(PAGE, {name: value}, follow=True)

    assert "ended already" in page.content.decode()
    assert is_signed_in(theirs)
    assert alice.token_families.count() == 1


def test_the_database_has_no_key_that_opens_a_session(dora: User) -> None:
    client = browser()
    key = client.cookies[configured.SESSION_COOKIE_NAME].value
    stored = BrowserSession.objects.get().pk

    client.cookies[configured.SESSION_COOKIE_NAME] = stored

    assert stored != key
    assert not is_signed_in(client)


def test_a_session_ends_after_its_longest_lifetime(dora: User, settings: Settings) -> None:
    settings.SESSION_LIFETIME = timedelta(hours=2)
    client, now = browser(), timezone.now()
    for minutes, there in ((60, True), (119, True), (121, False)):
        with time_machine.travel(now + timedelta(minutes=minutes), tick=False):
            assert is_signed_in(client) is there


def test_a_session_ends_when_it_is_not_used(dora: User, settings: Settings) -> None:
    settings.SESSION_IDLE = timedelta(minutes=30)
    client, now = browser(), timezone.now()
    for minutes, there in ((29, True), (58, True), (89, False)):
        with time_machine.travel(now + timedelta(minutes=minutes), tick=False):
            assert is_signed_in(client) is there


def test_the_last_use_is_written_once_a_minute(dora: User) -> None:
    client, now = browser(), timezone.now()
    seen = []
    for seconds in (30, 70, 100):
        with time_machine.travel(now + timedelta(seconds=seconds), tick=False):
            client.get(PAGE)
            seen.append(BrowserSession.objects.get().seen_at)

    assert seen[0] - now < timedelta(seconds=1)
    assert seen[1] == seen[2] == now + timedelta(seconds=70)


def test_a_new_password_and_a_deactivation_end_all_sessions(dora: User) -> None:
    first = browser()
    dora.set_password(PASSWORD + "!")
    people.replace_password(dora)
    assert not is_signed_in(first)
    assert not dora.browser_sessions.exists()

    dora.set_password(PASSWORD)
    people.replace_password(dora)
    second = browser()
    people.update_user(dora, {"is_active": False})
    assert not is_signed_in(second)
    assert not dora.browser_sessions.exists()


def test_expired_sessions_are_purged(dora: User) -> None:
    browser()
    BrowserSession.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    browser()

    purge_sessions()

    assert BrowserSession.objects.count() == 1


def test_a_session_that_ended_elsewhere_is_not_written_again(dora: User) -> None:
    key = browser().cookies[configured.SESSION_COOKIE_NAME].value
    session = SessionStore(key)
    session["note"] = "late"
    BrowserSession.objects.all().delete()

    with pytest.raises(UpdateError):
        session.save()
    assert not BrowserSession.objects.exists()


def test_behind_tls_the_cookie_is_secure_and_of_this_host_only() -> None:
    show = (
        "from django.conf import settings as s;"
        " print(s.SESSION_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", show], env={**os.environ, "SECURE_PROXY": "true"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert shown.stdout.split() == ["__Host-sessionid", "True", "True"]
