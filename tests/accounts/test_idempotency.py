import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from accounts.idempotency import once
from accounts.models import IdempotencyKey, User
from accounts.tasks import purge_idempotency_keys
from hypervisor.base.errors import Conflict, Invalid
from orgs.models import Organization
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal

pytestmark = pytest.mark.django_db


class Founder:
    """A user who creates organizations with idempotency keys."""

    def __init__(self, client_for: ClientFor, user: User) -> None:
        self.client_for = client_for
        self.user = user

    def found(self, key: str, name: str = "Initech", path: str = "/organizations") -> Any:
        client = self.client_for(self.user)
        return client.post(path, {"name": name}, headers={"Idempotency-Key": key})


@pytest.fixture
def founder(client_for: ClientFor, charlie: User) -> Founder:
    return Founder(client_for, charlie)


def test_a_repeated_request_changes_nothing_and_gets_the_same_response(founder: Founder) -> None:
    first = founder.found("k")
    again = founder.found("k")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Organization.objects.count() == 1


def test_a_different_body_with_the_same_key_is_refused(founder: Founder) -> None:
    founder.found("k")

    error = refusal(founder.found("k", name="Another"), 409)

    assert (error["attr"], error["code"]) == ("Idempotency-Key", "idempotency_key_reused")
    assert "use a new key" in error["detail"]
    assert Organization.objects.count() == 1


def test_a_different_path_with_the_same_key_is_refused(founder: Founder) -> None:
    founder.found("k")

    refusal(founder.found("k", path="/clusters"), 409)


def test_a_key_belongs_to_one_user(founder: Founder, client_for: ClientFor, alice: User) -> None:
    founder.found("k")

    other = Founder(client_for, alice).found("k")

    assert "Idempotent-Replayed" not in other.headers
    assert Organization.objects.count() == 2


def test_a_refused_request_can_be_corrected_under_the_same_key(founder: Founder) -> None:
    refusal(founder.found("k", name=""), 400)

    assert founder.found("k", name="Mended").status_code == 201


def test_a_key_can_be_reused_after_a_day(founder: Founder) -> None:
    founder.found("k")

    with time_machine.travel(timezone.now() + timedelta(hours=24, minutes=1), tick=False):
        later = founder.found("k", name="Tomorrow")

    assert later.status_code == 201
    assert Organization.objects.count() == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_has_1_to_255_characters(founder: Founder, key: str) -> None:
    error = refusal(founder.found(key), 400)

    assert error["attr"] == "Idempotency-Key"


def test_every_request_without_a_key_is_carried_out(client_for: ClientFor, charlie: User) -> None:
    for _ in range(2):
        client_for(charlie).post("/organizations", {"name": "Initech"})

    assert Organization.objects.count() == 2
    assert not IdempotencyKey.objects.exists()


def test_only_old_keys_are_purged(founder: Founder) -> None:
    founder.found("old")
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    founder.found("young")

    purge_idempotency_keys()

    assert [key.key for key in IdempotencyKey.objects.all()] == ["young"]


@pytest.mark.django_db(transaction=True)
def test_only_one_of_several_concurrent_requests_with_a_key_does_the_work(founder: Founder) -> None:
    start = threading.Barrier(4)
    answers: list[Any] = []

    def call() -> None:
        start.wait()
        answers.append(founder.found("k"))
        connection.close()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 3
    assert Organization.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_several_times_at_once_does_the_work_once(charlie: User) -> None:
    start = threading.Barrier(4)
    done: list[int] = []
    results: list[Any] = []

    def work() -> int:
        done.append(1)
        return 7

    def send() -> None:
        start.wait()
        results.append(once(charlie, "k", "the same", work))
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [(7, False)] * 3 + [(7, True)]
    assert len(done) == 1


def test_a_form_whose_work_failed_may_be_sent_again(charlie: User) -> None:
    def fail() -> int:
        raise Conflict("not now")

    with pytest.raises(Conflict):
        once(charlie, "k", "the same", fail)

    assert once(charlie, "k", "the same", lambda: 7) == (7, True)


@pytest.mark.parametrize("key", ["", "x" * 200])
def test_a_form_with_a_wrong_key_is_refused(charlie: User, key: str) -> None:
    with pytest.raises(Invalid):
        once(charlie, key, "the same", lambda: 7)
