"""A new password, also for a forgotten one."""

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from tests.fixtures.log_in import LogIn
from tests.fixtures.mail import MailTasks
from tests.fixtures.rates import Rates
from tests.support.factories import PASSWORD
from tests.support.mail_server import MailServer
from tests.support.mail_tasks import carry_out_mail_tasks
from tests.support.tokens import bearer, token_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rates")]

NEW = "nine boats, one bridge"
PAGE = "/account/password/"


@pytest.fixture
def dora(dora: User) -> User:
    """Dora, with a verified address."""
    dora.email_verified_at = timezone.now()
    dora.save(update_fields=["email_verified_at"])
    return dora


def signed_in(password: str = PASSWORD) -> Client:
    client = Client()
    form = {"username": "dora", "password": password}
    assert client.post("/account/sign-in/", form).status_code == 302
    return client


def change(client: Client, **given: str) -> Any:
    form = {"current_password": PASSWORD, "password": NEW, "password_again": NEW, **given}
    return client.post(PAGE, form)


def test_a_new_password_ends_everything_but_this_session(dora: User, log_in: LogIn) -> None:
    other, own = signed_in(), signed_in()
    pair, token = log_in().json(), token_of(dora)[1]
    before = own.cookies["sessionid"].value

    response = change(own)

    assert response.headers["Location"] == "/account/"
    assert own.get("/account/").status_code == 200
    assert own.cookies["sessionid"].value != before
    assert other.get("/account/").status_code == 302
    assert bearer(pair["access_token"]).get("/me").status_code == 401
    assert bearer(token).get("/me").status_code == 401
    assert (log_in().status_code, log_in(password=NEW).status_code) == (401, 200)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("current_password", "wrong", "not your password"),
        ("password_again", "nine boats, two bridges", "differ"),
        ("password", "12345678", "too common"),
    ],
)
def test_a_bad_change_says_what_is_wrong(
    dora: User, log_in: LogIn, field: str, value: str, error: str
) -> None:
    more = {"password_again": value} if field == "password" else {}

    response = change(signed_in(), **{field: value}, **more)

    assert error in " ".join(response.context["form"].errors[field])
    assert log_in().status_code == 200


def test_guessing_the_present_password_leads_to_a_lock_out(dora: User, settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    client = signed_in()

    codes = [change(client, current_password="wrong").status_code for _ in range(3)]

    assert codes == [200, 200, 429]


def test_a_change_is_mailed_to_the_verified_address(
    dora: User, mails: MailServer, mail_tasks: MailTasks
) -> None:
    client = signed_in()
    with mail_tasks():
        change(client)

    mail = mails.next()
    assert (mail["To"], mail["Auto-Submitted"]) == (dora.email, "auto-generated")
    assert mail["Subject"] == "The password of dora has changed"


def forget(address: str, client: Client | None = None, **extra: Any) -> Any:
    return (client or Client()).post("/account/forgotten/", {"email": address}, **extra)


@pytest.fixture
def link(dora: User, mails: MailServer, mail_tasks: MailTasks) -> str:
    """The path of the link that was mailed to dora."""
    with mail_tasks():
        forget("Dora@example.org", headers={"Host": "localhost"})
    found = re.search(r"http://localhost:8000(/account/reset/\S+)", mails.text())
    assert found
    return found[1]


def reset(link: str, password: str = NEW) -> Any:
    client = Client()
    page = client.get(link, follow=True)
    if not page.context["validlink"]:
        return page
    form = {"password": password, "password_again": password}
    return client.post(page.redirect_chain[-1][0], form, follow=True)


def is_valid(link: str) -> bool:
    return bool(Client().get(link, follow=True).context["validlink"])


def test_a_forgotten_password_is_replaced_which_ends_everything(
    link: str, dora: User, log_in: LogIn
) -> None:
    access = bearer(token_of(dora)[1])

    page = reset(link)

    assert "Sign in with the new one" in page.content.decode()
    assert (log_in().status_code, log_in(password=NEW).status_code) == (401, 200)
    assert access.get("/me").status_code == 401


def test_a_link_of_a_mail_works_once(link: str) -> None:
    reset(link)

    assert "not valid" in reset(link, "another good one").content.decode()


def test_a_link_of_a_mail_is_valid_for_an_hour(link: str) -> None:
    now = timezone.now()
    with time_machine.travel(now + timedelta(minutes=59), tick=False):
        assert is_valid(link)
    with time_machine.travel(now + timedelta(minutes=61), tick=False):
        assert not is_valid(link)


def test_a_link_ends_with_the_next_sign_in(link: str) -> None:
    signed_in()

    assert not is_valid(link)


@pytest.mark.parametrize("bad", ["/account/reset/MQ/x-y/", "/account/reset/!/set-password/"])
def test_a_made_up_link_is_refused(bad: str, dora: User) -> None:
    assert not is_valid(bad)


def test_a_weak_password_is_refused_beside_its_field(link: str) -> None:
    page = reset(link, "1234")

    assert "too short" in " ".join(page.context["form"].errors["password"])


def test_the_answer_does_not_depend_on_whether_the_address_exists(
    dora: User, mails: MailServer, mail_tasks: MailTasks, django_assert_num_queries: Any
) -> None:
    answers = []
    for address in ("dora@example.org", "nobody@example.org"):
        client = Client()
        # The page asks the database nothing, so its time cannot depend on the answer.
        with django_assert_num_queries(0):
            answers.append(forget(address, client))
    carry_out_mail_tasks()

    first, second = answers
    assert (first.status_code, first.headers["Location"]) == (302, "/account/sign-in/")
    assert first.cookies["messages"].value[:200] == second.cookies["messages"].value[:200]
    assert mails.next()["To"] == "dora@example.org"
    assert mails.is_empty


@pytest.mark.parametrize(
    "values",
    [{"email_verified_at": None}, {"is_active": False}, {"password": "!unusable"}],
    ids=["unverified", "deactivated", "without a password"],
)
def test_nobody_else_gets_a_link(
    dora: User, mails: MailServer, mail_tasks: MailTasks, values: dict[str, Any]
) -> None:
    User.objects.filter(pk=dora.pk).update(**values)
    with mail_tasks():
        forget(dora.email)

    assert mails.is_empty


def test_a_user_gets_one_link_at_a_time(
    dora: User, mails: MailServer, mail_tasks: MailTasks
) -> None:
    with mail_tasks():
        forget(dora.email)
        forget(dora.email)

    mails.next()
    assert mails.is_empty


def test_a_mail_that_was_refused_for_now_is_sent_later(
    dora: User, mails: MailServer, mail_tasks: MailTasks
) -> None:
    mails.reply = lambda address: "451 later"
    forget(dora.email)
    with pytest.raises(Exception, match="later"):
        carry_out_mail_tasks()
    mails.reply = lambda address: "250 OK"

    forget(dora.email)
    assert carry_out_mail_tasks() == ["accounts.mail_password_reset"]
    assert mails.next()["To"] == dora.email


def test_requests_for_mails_from_one_address_are_limited(
    dora: User, mails: MailServer, rates: Rates
) -> None:
    cache.clear()
    rates["mail"] = "2/hour"

    codes = [forget("x@example.org").status_code for _ in range(3)]

    assert codes == [302, 302, 429]


def test_without_a_mail_server_the_page_says_whom_to_ask(settings: Settings) -> None:
    settings.MAIL_IS_SENT = False

    assert "Ask an operator" in Client().get("/account/forgotten/").content.decode()
    assert "Ask an operator" in forget("x@example.org").content.decode()


def test_a_renewed_hash_does_not_end_the_session(
    dora: User, settings: Settings, mails: MailServer
) -> None:
    client = signed_in()
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher", *settings.PASSWORD_HASHERS,
    ]  # fmt: skip
    before = dora.password

    client.post("/account/email/", {"email": "new@example.org", "current_password": PASSWORD})

    dora.refresh_from_db()
    assert dora.password != before
    assert client.get("/account/").status_code == 200
