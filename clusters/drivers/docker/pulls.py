"""Pull images in separate threads, so that a large image does not delay other containers.

The state of each pull is in the cache, for all workers: an image is pulled only once, and the next
start gets the error of a pull that failed with the same log-in. Without the cache, several
processes may request the same pull, which the engine merges.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock, Thread
from time import monotonic
from typing import Any

import structlog
from django.core.cache import cache
from docker import APIClient
from docker.errors import APIError

from clusters.drivers.base import Cause, DriverError, RegistryLogin
from clusters.drivers.docker.errors import pull_failed, translated
from hypervisor.base.secrets import fingerprint

_ALIVE_S = 60
"""A pull without an update for this long has died with its worker."""

_REMEMBERED_S = 10
"""How long the result of a pull is reported before the registry is asked again."""

_PULLING, _PULLED = "pulling", "pulled"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Failure:
    message: str
    retriable: bool
    cause: Cause


class Pulls:
    """The pulls of one engine; `done` is called after each."""

    def __init__(self, engine: str, connect: Callable[[], APIClient], done: Callable[[], None]):
        self._engine = engine
        self._connect = connect
        self._done = done
        self._running: set[str] = set()
        self._lock = Lock()

    def pull(self, image: str, login: RegistryLogin | None = None) -> None:
        """Pull an image in the background; always raise DriverError with the pull's state.

        Without a log-in, the one in the process's own `~/.docker/config.json` is used, if any.
        """
        state = self._state(image, login)
        if isinstance(state, _Failure):
            raise DriverError(state.message, retriable=state.retriable, cause=state.cause)
        if state == _PULLED:
            raise DriverError(
                f"Image {image} was pulled, but the engine does not have it: if this persists, an"
                " operator has to check the engine's disk.",
                retriable=True,
            )
        if state is None:
            self._begin(image, login)
        raise DriverError(
            f"Image {image} is being pulled.", retriable=True, cause=Cause.FETCHING_IMAGE
        )

    def _begin(self, image: str, login: RegistryLogin | None) -> None:
        with self._lock:
            if image in self._running:
                return
            self._running.add(image)
        self._record(image, login, _PULLING, _ALIVE_S)
        Thread(target=self._run, args=(image, login), name=f"pull-{image}", daemon=True).start()

    def _run(self, image: str, login: RegistryLogin | None) -> None:
        try:
            with translated(), self._client() as client:
                self._pull(client, image, login)
            self._record(image, login, _PULLED, _REMEMBERED_S)
        except DriverError as error:
            log.info("pull_failed", engine=self._engine, image=image, error=str(error))
            failure = _Failure(str(error), error.retriable, error.cause)
            self._record(image, login, failure, _REMEMBERED_S)
        finally:
            with self._lock:
                self._running.discard(image)
            self._done()

    def _pull(self, client: APIClient, image: str, login: RegistryLogin | None) -> None:
        recorded = monotonic()
        auth = {"username": login.username, "password": login.password} if login else None
        try:
            for line in client.pull(image, stream=True, decode=True, auth_config=auth):
                if "error" in line:
                    raise pull_failed(image, str(line["error"]))
                if monotonic() - recorded > _ALIVE_S / 3:
                    recorded = monotonic()
                    self._record(image, login, _PULLING, _ALIVE_S)
        except APIError as error:
            status = error.response.status_code if error.response is not None else None
            raise pull_failed(image, str(error.explanation or error), status) from error

    @contextmanager
    def _client(self) -> Iterator[APIClient]:
        """Yield a separate client, because threads cannot share a session."""
        client = self._connect()
        try:
            yield client
        finally:
            client.close()

    def _state(self, image: str, login: RegistryLogin | None) -> Any:
        with suppress(Exception):
            return cache.get(self._key(image, login))
        return None

    def _record(self, image: str, login: RegistryLogin | None, state: Any, seconds: int) -> None:
        with suppress(Exception):
            cache.set(self._key(image, login), state, seconds)

    def _key(self, image: str, login: RegistryLogin | None) -> str:
        account = f"{login.username}:{login.password}" if login else ""
        return f"pull:{self._engine}:{fingerprint(f'{image} {account}')}"
