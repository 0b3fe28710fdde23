"""GET /deployments/{id}/logs: from the engine, and from what was kept."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.errors import Busy
from accounts.models import User
from clusters.models import Cluster
from deployments import output
from deployments.followers import Following
from deployments.models import Deployment, Run, RunOutput
from deployments.reconcile import reconcile
from tests.answers import refusal
from tests.conftest import ClientFor
from tests.deployments.conftest import Submit
from tests.deployments.engine import FakeEngine

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(client_for: ClientFor, bob: User) -> APIClient:
    return client_for(bob)


@pytest.fixture
def running(foundry: Cluster, engine: FakeEngine, place: Submit) -> Deployment:
    deployment = place()
    reconcile(foundry.pk)
    return deployment


def run_of(deployment: Deployment) -> Run:
    return deployment.runs.latest("pk")


def write(engine: FakeEngine, deployment: Deployment, text: bytes) -> None:
    engine.containers[run_of(deployment).pk].wrote += text


def end(engine: FakeEngine, deployment: Deployment, code: int = 0) -> None:
    cluster = deployment.cluster_id or 0
    engine.exit(run_of(deployment).pk, code)
    reconcile(cluster)


def logs(api: APIClient, deployment: Deployment, **query: Any) -> bytes:
    answer: Any = api.get(f"/deployments/{deployment.pk}/logs", query)
    assert answer.status_code == 200, answer.data
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    return b"".join(answer.streaming_content)


def test_what_a_container_wrote_comes_from_the_engine(
    api: APIClient, engine: FakeEngine, running: Deployment
) -> None:
    write(engine, running, b"one\ntwo\nthree\n")

    assert logs(api, running) == b"one\ntwo\nthree\n"
    assert logs(api, running, tail=2) == b"two\nthree\n"
    assert logs(api, running, tail=0) == b""


def test_a_silent_container_has_written_nothing(api: APIClient, running: Deployment) -> None:
    assert logs(api, running) == b""


@pytest.mark.parametrize("follow", ["false", "true"])
def test_it_is_still_there_when_the_container_has_gone(
    api: APIClient, engine: FakeEngine, running: Deployment, follow: str
) -> None:
    write(engine, running, b"one\ntwo\n")
    end(engine, running)

    assert engine.containers == {}
    assert logs(api, running, follow=follow) == b"one\ntwo\n"
    assert logs(api, running, tail=1, follow=follow) == b"two\n"


def test_only_the_last_part_is_kept_and_it_says_so(
    api: APIClient, engine: FakeEngine, running: Deployment, settings: Settings
) -> None:
    settings.LOG_KEEP_KIB = 1
    write(engine, running, b"".join(b"line %04d\n" % n for n in range(1000)))
    end(engine, running)

    text = logs(api, running)
    first, second, *_, last = text.splitlines()
    assert first == b"[earlier output was not kept]"
    assert second == b"line 0898"
    assert last == b"line 0999"
    assert len(RunOutput.objects.get().text) <= 1024
    assert logs(api, running, tail=1) == b"line 0999\n"


def test_nothing_is_kept_when_nothing_is_to_be(
    api: APIClient, engine: FakeEngine, running: Deployment, settings: Settings
) -> None:
    settings.LOG_KEEP_KIB = 0
    write(engine, running, b"one\n")
    end(engine, running)

    assert logs(api, running) == b""


def test_what_was_kept_is_forgotten_in_time(
    api: APIClient, engine: FakeEngine, running: Deployment
) -> None:
    write(engine, running, b"one\n")
    end(engine, running)

    with time_machine.travel(timezone.now() + timedelta(days=13)):
        assert output.purge(timezone.now()) == 0
    with time_machine.travel(timezone.now() + timedelta(days=15)):
        assert output.purge(timezone.now()) == 1


def test_an_earlier_run_is_chosen_by_its_id(
    api: APIClient, engine: FakeEngine, running: Deployment, place: Submit, foundry: Cluster
) -> None:
    first = run_of(running).pk
    write(engine, running, b"first\n")
    engine.by_uid.clear()
    Run.objects.filter(pk=first).update(released_at=timezone.now(), outcome="requeued")
    Run.objects.filter(pk=first).update(ended_at=timezone.now())
    RunOutput.objects.create(run_id=first, text=b"first\n")
    Deployment.objects.filter(pk=running.pk).update(status="pending", cluster=None)
    place(deployment=running)
    reconcile(foundry.pk)
    write(engine, running, b"second\n")

    assert logs(api, running) == b"second\n"
    assert logs(api, running, run=first) == b"first\n"
    refusal(api.get(f"/deployments/{running.pk}/logs", {"run": first + 1000}), 404)


def test_one_that_never_started_says_so(api: APIClient, foundry: Cluster, submit: Submit) -> None:
    error = refusal(api.get(f"/deployments/{submit().pk}/logs"), 409)

    assert "has not been started yet" in error["detail"]


def test_an_engine_that_does_not_answer_is_told_with_a_503(
    api: APIClient, engine: FakeEngine, running: Deployment
) -> None:
    engine.is_down = True

    answer = api.get(f"/deployments/{running.pk}/logs")

    assert answer.status_code == 503
    assert answer.data["errors"][0]["code"] == "unavailable"
    assert "foundry" in answer.data["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("query", "attr"),
    [({"tail": "-1"}, "tail"), ({"tail": "many"}, "tail"), ({"follow": "maybe"}, "follow"),
     ({"run": "x"}, "run"), ({"lines": "3"}, "lines")],
)  # fmt: skip
def test_a_wrong_parameter_is_named(
    api: APIClient, running: Deployment, query: dict[str, str], attr: str
) -> None:
    assert refusal(api.get(f"/deployments/{running.pk}/logs", query), 400)["attr"] == attr


def test_a_stranger_finds_nothing(
    client_for: ClientFor, charlie: User, running: Deployment
) -> None:
    refusal(client_for(charlie).get(f"/deployments/{running.pk}/logs"), 404)


@pytest.mark.parametrize("accept", ["text/plain", "application/json", "*/*"])
def test_whoever_asks_for_text_gets_text_and_errors_in_the_one_shape(
    api: APIClient, running: Deployment, submit: Submit, accept: str
) -> None:
    headers = {"Accept": accept}

    assert api.get(f"/deployments/{running.pk}/logs", headers=headers).status_code == 200
    refusal(api.get(f"/deployments/{submit().pk}/logs", headers=headers), 409)


def test_following_ends_with_the_run(engine: FakeEngine, running: Deployment) -> None:
    write(engine, running, b"one\n")
    pieces = output.follow(run_of(running), tail=None)
    assert next(pieces) == b"one\n"
    assert next(pieces) == b""

    engine.exit(run_of(running).pk, 0)

    assert b"".join(pieces) == b""


def test_following_tells_when_the_engine_goes_away(engine: FakeEngine, running: Deployment) -> None:
    engine.is_down = True

    (piece,) = output.follow(run_of(running), tail=None)

    assert b"the engine of foundry does not answer" in piece


def test_only_so_many_may_follow_and_a_place_is_given_back(settings: Settings) -> None:
    settings.LOG_FOLLOWERS = 2
    first, second = Following(iter(())), Following(iter(()))

    with pytest.raises(Busy, match="2 logs are being followed"):
        Following(iter(()))
    first.close()
    first.close()
    third = Following(iter(()))
    second.close()
    third.close()


def test_a_follower_too_many_is_told_when_to_come_back(
    api: APIClient, running: Deployment, settings: Settings
) -> None:
    settings.LOG_FOLLOWERS = 1
    other = Following(iter(()))

    answer: Any = api.get(f"/deployments/{running.pk}/logs?follow=true")
    other.close()

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "10")
    assert answer.data["errors"][0]["code"] == "busy"


def test_closing_a_stream_closes_what_it_reads() -> None:
    closed = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    stream = Following(pieces())
    assert next(stream) == b"one"
    stream.close()

    assert closed == [True]


def test_the_command_prints_them(engine: FakeEngine, running: Deployment) -> None:
    write(engine, running, b"one\ntwo\n")
    printed = StringIO()

    call_command("logs", str(running.pk), "--tail", "1", stdout=printed)

    assert printed.getvalue() == "two\n"
    with pytest.raises(CommandError, match="no deployment 4711"):
        call_command("logs", "4711")
