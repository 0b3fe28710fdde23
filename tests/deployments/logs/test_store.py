"""GET /deployments/{id}/logs: from the engine, and from the stored output."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from clusters.drivers.base import Cause, DriverError
from clusters.models import Cluster, Connection
from deployments import services
from deployments.logs import readers, store
from deployments.logs.follow_limit import Following
from deployments.logs.models import RunOutput
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.base.errors import Busy
from tests.fixtures.deployments import Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.fake_engine import FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_POLL_S", 0.01)


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
    return b"".join(answer.streaming_content) if answer.streaming else bytes(answer.content)


def test_the_output_comes_from_the_engine(
    api: APIClient, engine: FakeEngine, running: Deployment
) -> None:
    write(engine, running, b"one\ntwo\nthree\n")

    assert logs(api, running) == b"one\ntwo\nthree\n"
    assert logs(api, running, tail=2) == b"two\nthree\n"
    assert logs(api, running, tail=0) == b""


def test_a_container_without_output_has_an_empty_log(api: APIClient, running: Deployment) -> None:
    assert logs(api, running) == b""


@pytest.mark.parametrize("follow", ["false", "true"])
def test_the_output_is_kept_when_the_container_is_removed(
    api: APIClient, engine: FakeEngine, running: Deployment, follow: str
) -> None:
    write(engine, running, b"one\ntwo\n")
    end(engine, running)

    assert engine.containers == {}
    assert logs(api, running, follow=follow) == b"one\ntwo\n"
    assert logs(api, running, tail=1, follow=follow) == b"two\n"


def test_only_the_last_part_is_kept_and_the_log_mentions_it(
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


def test_nothing_is_kept_if_the_setting_is_0(
    api: APIClient, engine: FakeEngine, running: Deployment, settings: Settings
) -> None:
    settings.LOG_KEEP_KIB = 0
    write(engine, running, b"one\n")
    end(engine, running)

    assert logs(api, running) == b""


def test_kept_output_is_deleted_after_its_time(
    api: APIClient, engine: FakeEngine, running: Deployment
) -> None:
    write(engine, running, b"one\n")
    end(engine, running)

    with time_machine.travel(timezone.now() + timedelta(days=13)):
        assert store.purge(timezone.now()) == 0
    with time_machine.travel(timezone.now() + timedelta(days=15)):
        assert store.purge(timezone.now()) == 1


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


def test_a_deployment_that_never_started_has_no_log(
    api: APIClient, foundry: Cluster, submit: Submit
) -> None:
    error = refusal(api.get(f"/deployments/{submit().pk}/logs"), 409)

    assert "has never been started: use `follow` to wait" in error["detail"]


def test_the_last_thousand_lines_are_returned_by_default(
    api: APIClient, engine: FakeEngine, running: Deployment
) -> None:
    write(engine, running, b"".join(b"%d\n" % n for n in range(1500)))

    assert logs(api, running).splitlines()[0] == b"500"
    assert logs(api, running, tail="all").splitlines()[0] == b"0"
    assert logs(api, running, tail="all", run=run_of(running).pk).splitlines()[0] == b"0"


def test_a_response_is_limited_and_mentions_what_is_left_out(
    api: APIClient, engine: FakeEngine, running: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "READ_BYTES", 100)
    write(engine, running, b"".join(b"line %d\n" % n for n in range(100)))

    first, *_, last = logs(api, running).splitlines()

    assert first == b"[earlier output is left out: use `follow` to get all of it]"
    assert last == b"line 99"


def test_kept_output_is_found_although_the_container_is_removed_during_the_call(
    api: APIClient, engine: FakeEngine, running: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(engine, running, b"last words\n")

    def refuse(*_: object, **__: object) -> Iterator[bytes]:
        end(engine, running)
        raise DriverError("It is being removed.", retriable=True, cause=Cause.ENGINE_FAILED)

    monkeypatch.setattr(store, "driver_for", lambda _: SimpleNamespace(logs=refuse))

    assert logs(api, running) == b"last words\n"


def test_a_lasting_refusal_is_a_503(
    api: APIClient, running: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Iterator[bytes]:
        raise DriverError("It is being removed.", retriable=True, cause=Cause.ENGINE_FAILED)

    monkeypatch.setattr(store, "driver_for", lambda _: SimpleNamespace(logs=refuse))
    monkeypatch.setattr(store, "_ENDING_S", 0.3)

    assert api.get(f"/deployments/{running.pk}/logs").status_code == 503


def test_an_engine_that_does_not_answer_is_a_503(
    api: APIClient, engine: FakeEngine, running: Deployment
) -> None:
    engine.is_down = True

    answer = api.get(f"/deployments/{running.pk}/logs")

    assert answer.status_code == 503
    assert answer.data["errors"][0]["code"] == "unavailable"
    assert "foundry" in answer.data["errors"][0]["detail"]


def test_a_log_does_not_wait_for_an_engine_without_contact(
    api: APIClient, running: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    Connection.objects.update(lost_contact_at=timezone.now())
    calls: list[object] = []
    monkeypatch.setattr(store, "driver_for", calls.append)

    answer = api.get(f"/deployments/{running.pk}/logs")

    assert (answer.status_code, calls) == (503, [])
    assert "foundry" in answer.data["errors"][0]["detail"]


def test_too_many_logs_of_an_engine_that_hangs_are_a_429(
    api: APIClient, running: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PATIENCE_S", 0.01)
    with ExitStack() as hung:
        for _ in range(readers.ORGANIZATIONS_SHARE):
            hung.enter_context(readers.place(running.organization_id))

        answer: Any = api.get(f"/deployments/{running.pk}/logs")

        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
        with readers.place(running.organization_id + 1):
            pass
    assert logs(api, running) == b""


def test_all_organizations_together_leave_threads_for_other_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readers, "PATIENCE_S", 0.01)
    with ExitStack() as hung:
        for number in range(readers.PLACES):
            hung.enter_context(readers.place(number))
        with pytest.raises(Busy), readers.place(99):
            pass
    with readers.place(99):
        pass


def test_a_log_waits_a_moment_for_its_place() -> None:
    with ThreadPoolExecutor() as pool, ExitStack() as others:
        for _ in range(readers.ORGANIZATIONS_SHARE):
            others.enter_context(readers.place(1))

        def read() -> None:
            with readers.place(1):
                pass

        waiting = pool.submit(read)
        others.close()

        waiting.result(10)


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
def test_a_caller_that_accepts_text_gets_text_and_errors_in_json(
    api: APIClient, running: Deployment, submit: Submit, accept: str
) -> None:
    headers = {"Accept": accept}

    assert api.get(f"/deployments/{running.pk}/logs", headers=headers).status_code == 200
    refusal(api.get(f"/deployments/{submit().pk}/logs", headers=headers), 409)


def test_following_ends_with_the_run(engine: FakeEngine, running: Deployment) -> None:
    write(engine, running, b"one\n")
    pieces = store.follow(running, tail=None, run_id=None)
    assert next(pieces) == b"one\n"
    assert next(pieces) == b""

    engine.exit(run_of(running).pk, 0)

    assert b"".join(pieces) == b""


def test_following_begins_before_there_is_a_container(
    engine: FakeEngine, foundry: Cluster, submit: Submit, place: Submit
) -> None:
    deployment = submit()
    pieces = store.follow(deployment, tail=None, run_id=None)
    assert next(pieces) == b""
    place(deployment=deployment)
    assert next(pieces) == b""
    reconcile(foundry.pk)
    deployment.refresh_from_db()
    write(engine, deployment, b"one\n")

    assert next(piece for piece in pieces if piece) == b"one\n"

    end(engine, deployment)
    assert b"".join(pieces) == b""


def test_following_a_deployment_that_is_pending_again_waits_for_its_next_run(
    engine: FakeEngine, running: Deployment, place: Submit, foundry: Cluster
) -> None:
    Run.objects.update(released_at=timezone.now(), outcome="requeued")
    Run.objects.update(ended_at=timezone.now())
    engine.containers.clear()
    Deployment.objects.update(status="pending", cluster=None)
    running.refresh_from_db()
    pieces = store.follow(running, tail=None, run_id=None)
    assert next(pieces) == b""
    place(deployment=running)
    reconcile(foundry.pk)
    write(engine, running, b"second\n")

    assert next(piece for piece in pieces if piece) == b"second\n"


def test_following_a_deployment_that_is_cancelled_ends_with_a_message(
    foundry: Cluster, submit: Submit
) -> None:
    deployment = submit()
    pieces = store.follow(deployment, tail=None, run_id=None)
    assert next(pieces) == b""

    services.cancel(deployment, actor="alice")

    assert next(pieces).endswith(b"is cancelled and was not started]\n")
    assert list(pieces) == []


def test_following_a_deployment_that_ended_without_a_start_is_a_conflict(
    api: APIClient, foundry: Cluster, submit: Submit
) -> None:
    deployment = submit()
    services.cancel(deployment, actor="alice")

    refusal(api.get(f"/deployments/{deployment.pk}/logs?follow=true"), 409)


def test_following_reports_when_the_engine_stops_answering(
    engine: FakeEngine, running: Deployment
) -> None:
    engine.is_down = True

    (piece,) = store.follow(running, tail=None, run_id=None)

    assert b"the engine of foundry does not answer" in piece


def following(user: int = 1, organization: int = 1) -> Following:
    return Following(iter(()), user=user, organization=organization)


@pytest.mark.parametrize(
    ("places", "others", "reason"),
    [
        (2, [(2, 2), (3, 3)], "2 logs are being followed, which is the limit."),
        (8, [(1, 2), (1, 3)], "You already follow 2 logs"),
        (8, [(2, 1), (3, 1), (4, 1), (5, 1)], "Your organization already follows 4 logs"),
    ],
)
def test_the_number_of_followers_is_limited_and_a_closed_one_frees_its_place(
    settings: Settings, places: int, others: list[tuple[int, int]], reason: str
) -> None:
    settings.LOG_FOLLOWERS = places
    followers = [following(user, organization) for user, organization in others]

    with pytest.raises(Busy, match=reason):
        following()
    followers[0].close()
    followers[0].close()
    following().close()
    for place in followers:
        place.close()


def test_one_user_and_one_organization_leave_places_for_others(settings: Settings) -> None:
    settings.LOG_FOLLOWERS = 8
    greedy = [following(user=user, organization=1) for user in range(4)]
    with pytest.raises(Busy):
        following(user=4, organization=1)

    following(user=100, organization=2).close()
    for place in greedy:
        place.close()


def test_too_many_followers_are_a_429_with_retry_after(
    api: APIClient, running: Deployment, settings: Settings
) -> None:
    settings.LOG_FOLLOWERS = 1
    other = following()

    answer: Any = api.get(f"/deployments/{running.pk}/logs?follow=true")
    other.close()

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "10")
    assert answer.data["errors"][0]["code"] == "busy"


def test_closing_a_stream_closes_its_source() -> None:
    closed = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    stream = Following(pieces(), user=1, organization=1)
    assert next(stream) == b"one"
    stream.close()

    assert closed == [True]


def test_the_command_prints_the_output(engine: FakeEngine, running: Deployment) -> None:
    write(engine, running, b"one\ntwo\n")
    printed = StringIO()

    call_command("logs", str(running.pk), "--tail", "1", stdout=printed)

    assert printed.getvalue() == "two\n"
    with pytest.raises(CommandError, match="no deployment 4711"):
        call_command("logs", "4711")
