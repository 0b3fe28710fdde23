"""Signed links of mails."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone
from pytest_django import Settings

from hypervisor.base import links

FORMER = "b2xkLWtleS1vZi0zMi1ieXRlcy1mb3ItdGhlLXRlc3Q="


def test_a_link_says_what_was_signed() -> None:
    text = links.sign({"user": 1}, purpose="test")

    assert links.read(text, purpose="test") == {"user": 1}


def test_a_link_is_for_one_purpose() -> None:
    text = links.sign(1, purpose="test")

    with pytest.raises(links.BadLink):
        links.read(text, purpose="another")


@pytest.mark.parametrize("bad", ["", "x", "a:b:c", "WzFd:1wV0aa:forged"])
def test_a_link_that_was_not_signed_is_refused(bad: str) -> None:
    with pytest.raises(links.BadLink):
        links.read(bad, purpose="test")


def test_a_link_expires() -> None:
    text = links.sign(1, purpose="test")

    with (
        time_machine.travel(timezone.now() + timedelta(hours=1, seconds=2), tick=False),
        pytest.raises(links.BadLink),
    ):
        links.read(text, purpose="test", lifetime=timedelta(hours=1))


def test_a_link_of_a_former_key_is_valid_while_the_key_is_listed(settings: Settings) -> None:
    new = settings.CREDENTIALS_KEYS[0]
    settings.CREDENTIALS_KEYS = [FORMER]
    text = links.sign(1, purpose="test")

    settings.CREDENTIALS_KEYS = [new, FORMER]
    assert links.read(text, purpose="test") == 1
    settings.CREDENTIALS_KEYS = [new]
    with pytest.raises(links.BadLink):
        links.read(text, purpose="test")
