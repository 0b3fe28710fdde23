"""Verified addresses."""

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts import services
from accounts.models import User
from tests.fixtures.mail import MailTasks
from tests.support.factories import PASSWORD, UserFactory
from tests.support.mail_server import MailServer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rates")]

NEW = "dora@new.example.org"


@pytest.fixture
def browser(dora: User) -> Client:
    client = Client()
    client.force_login(dora, "django.contrib.auth.backends.ModelBackend")
    return client


def link_in(mails: MailServer) -> str:
    found = re.search(r"http://localhost:8000(/account/verify/\S+)", mails.text())
    assert found
    return found[1]


def change(client: Client, email: str = NEW, password: str = PASSWORD) -> Any:
    return client.post("/account/email/", {"email": email, "current_password": password})


def address_of(user: User) -> str:
    user.refresh_from_db()
    return services.mail_address_of(user)


def test_a_registered_address_is_verified_with_the_mailed_link(
    mails: MailServer, mail_tasks: MailTasks
) -> None:
    form = {"username": "erin", "email": "erin@example.org", "password": PASSWORD,
            "password_again": PASSWORD}  # fmt: skip
    client = Client()
    with mail_tasks():
        client.post("/account/register/", form)
    erin, link = User.objects.get(username="erin"), link_in(mails)

    assert "not verified" in client.get("/account/").content.decode()
    assert "erin@example.org" in client.get(link).content.decode()
    assert address_of(erin) == ""
    Client().post(link)
    assert address_of(erin) == "erin@example.org"


def test_a_new_address_counts_once_it_is_verified(
    browser: Client, dora: User, mails: MailServer, mail_tasks: MailTasks
) -> None:
    User.objects.filter(pk=dora.pk).update(email_verified_at=timezone.now())
    with mail_tasks():
        assert change(browser).status_code == 302
    link = link_in(mails)

    assert address_of(dora) == "dora@example.org"
    with mail_tasks():
        browser.post(link)
    assert address_of(dora) == NEW
    told = mails.next()
    assert (told["To"], told["Subject"]) == ("dora@example.org", "The address of dora has changed")


def test_a_change_needs_the_password(browser: Client, dora: User, settings: Settings) -> None:
    settings.MAIL_IS_SENT = True

    page = change(browser, password="wrong")

    assert "not your password" in str(page.context["form"].errors)
    dora.refresh_from_db()
    assert dora.pending_email == ""


def test_a_link_is_valid_for_a_day(
    browser: Client, dora: User, mails: MailServer, mail_tasks: MailTasks
) -> None:
    with mail_tasks():
        change(browser)
    link, now = link_in(mails), timezone.now()

    with time_machine.travel(now + timedelta(hours=25), tick=False):
        assert Client().post(link).status_code == 404
    with time_machine.travel(now + timedelta(hours=23), tick=False):
        assert Client().post(link).status_code == 302


@pytest.mark.parametrize("what", ["password", "another address", "operator", "deactivated"])
def test_a_link_ends_when_something_else_has_changed(
    browser: Client, dora: User, mails: MailServer, mail_tasks: MailTasks, what: str
) -> None:
    with mail_tasks():
        change(browser)
    link = link_in(mails)
    dora.refresh_from_db()

    if what == "password":
        dora.set_password("the owner got it back")
        services.replace_password(dora)
    elif what == "another address":
        change(browser, "dora@other.example.org")
    elif what == "operator":
        services.update_user(dora, {"email": "dora@third.example.org"})
    else:
        services.update_user(dora, {"is_active": False})

    assert Client().get(link).status_code == 404
    assert Client().post(link).status_code == 404
    assert address_of(dora) == ""


def test_a_made_up_link_is_refused() -> None:
    assert Client().get("/account/verify/made:up/").status_code == 404


def test_an_address_belongs_to_one_user(
    browser: Client, dora: User, mails: MailServer, mail_tasks: MailTasks
) -> None:
    with mail_tasks():
        change(browser, "Shared@example.org")
    link = link_in(mails)
    UserFactory(email="shared@example.org", email_verified_at=timezone.now())

    page = Client().post(link)

    assert "belongs to another user" in page.content.decode()
    assert address_of(dora) == ""


def test_the_link_is_mailed_again(
    browser: Client, dora: User, mails: MailServer, mail_tasks: MailTasks
) -> None:
    with mail_tasks():
        page = browser.post("/account/email/again/", follow=True)

    assert "dora@example.org" in page.content.decode()
    assert mails.next()["To"] == "dora@example.org"


def test_a_verified_address_needs_no_link(browser: Client, dora: User, settings: Settings) -> None:
    settings.MAIL_IS_SENT = True
    User.objects.filter(pk=dora.pk).update(email_verified_at=timezone.now())

    page = browser.post("/account/email/again/", follow=True)

    assert "verified already" in page.content.decode()


def test_without_a_mail_server_the_page_says_whom_to_ask(browser: Client) -> None:
    assert "Ask an operator" in browser.get("/account/email/").content.decode()
    assert "ask an operator" in change(browser).content.decode().lower()


def test_an_operator_sees_whether_an_address_is_verified(console: Client, dora: User) -> None:
    page = reverse("admin:accounts_user_change", args=[dora.pk])
    assert "E-mail verified" in console.get(page).content.decode()


def test_an_address_that_an_operator_sets_is_not_verified(
    console: Client, dora: User, mails: MailServer, mail_tasks: MailTasks
) -> None:
    User.objects.filter(pk=dora.pk).update(email_verified_at=timezone.now())
    page = reverse("admin:accounts_user_change", args=[dora.pk])
    with mail_tasks():
        console.post(page, {"email": "set@example.org", "is_active": "on"})

    assert address_of(dora) == ""
    assert mails.next()["To"] == "set@example.org"
