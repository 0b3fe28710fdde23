"""A cache that does not answer delays one caller by half a second, and no other caller."""

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest
from django.core.cache.backends.base import BaseCache
from redis import RedisError

from hypervisor.base import cache as module
from hypervisor.base.cache import Cache
from hypervisor.standalone import servers
from hypervisor.standalone.home import free_port
from hypervisor.standalone.process import Process
from tests.support.docker_engine import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Process, str]]:
    """Start a Valkey for this test; yield it and its URL."""
    service, url = servers.valkey(
        tmp_path / "valkey", free_port(), "secret", tmp_path / "valkey.log", durable=False
    )
    process = Process(service)
    try:
        process.wait_until_ready()
        yield process, url
    finally:
        process.kill()


def cache_of(url: str) -> BaseCache:
    options = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5}
    return Cache(url, {"OPTIONS": options})


def refused_after(cache: BaseCache) -> float:
    began = monotonic()
    with pytest.raises(RedisError):
        cache.get("x")
    return monotonic() - began


def hang(process: Process, number: signal.Signals = signal.SIGSTOP) -> None:
    process._popen.send_signal(number)


def test_while_it_hangs_one_call_waits_and_the_others_do_not(server: tuple[Process, str]) -> None:
    process, url = server
    cache = cache_of(url)
    cache.set("x", 1)
    hang(process)

    took = [refused_after(cache), refused_after(cache), refused_after(cache_of(url))]

    assert took[0] >= 0.4
    assert max(took[1:]) < 0.2


def test_it_is_tried_again_after_a_pause(
    server: tuple[Process, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, url = server
    cache = cache_of(url)
    cache.set("x", 1)
    monkeypatch.setattr(module, "_PAUSE_S", 0.1)
    hang(process)
    refused_after(cache)
    hang(process, signal.SIGCONT)

    def answers() -> bool:
        with suppress(RedisError):
            return bool(cache.get("x") == 1)
        return False

    wait_until(answers, "it answers again")
    assert cache.get("x") == 1


def test_a_restart_does_not_trip_the_breaker(server: tuple[Process, str]) -> None:
    process, url = server
    cache = cache_of(url)
    cache.set("x", 1)
    process.kill()
    restarted = Process(process.service)
    try:
        restarted.wait_until_ready()
        assert cache.get("x") is None
    finally:
        restarted.kill()
