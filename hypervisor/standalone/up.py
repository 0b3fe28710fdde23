"""`manage.py up`: the whole service on one machine, from PostgreSQL to beat."""

import os
import secrets
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from hypervisor import env
from hypervisor.standalone import servers
from hypervisor.standalone.bootstrap import ROOT
from hypervisor.standalone.home import Home, HomeInUseError, given, write_private
from hypervisor.standalone.overview import SCALABLE
from hypervisor.standalone.process import Service, StartError
from hypervisor.standalone.supervisor import Stopped, Supervisor, stop_on_signals

ADMIN = "admin"
_WEB_PROCESSES = 2
_CELERY_PROCESSES = 2
_BACKGROUND_NICE = 10
_ENGINE_THREADS = 16


def main(scale: Mapping[str, int]) -> int:
    """Run the service until a signal; return the exit status.

    `scale` has by kind how many processes to run if not one.
    """
    supervisor = Supervisor(_print)
    try:
        with stop_on_signals():
            _run(supervisor, Home.current(), scale)
    except Stopped:
        _print("Stopping ...")
        supervisor.stop()
        _print("Stopped. Nothing is lost: continue with `python3 manage.py up`.")
        return 0
    except (HomeInUseError, ImproperlyConfigured, OSError, StartError) as error:
        supervisor.stop()
        _print(f"error: {error}")
        return 1
    except BaseException:
        supervisor.stop()
        raise
    return 0


def _run(supervisor: Supervisor, home: Home, scale: Mapping[str, int]) -> None:
    began = time.monotonic()
    home.create()
    lock = home.lock()
    own = _decide_settings(home, lock)
    listener = _listen(given("HOST") or "127.0.0.1", int(given("PORT") or 8000))
    # Callers reach it through the web server.
    os.environ["PUBLIC_URL"] = given("PUBLIC_URL") or _url(listener)
    followers = _listen("127.0.0.1", 0)
    os.environ["EVENTS_URL"] = f"http://127.0.0.1:{followers.getsockname()[1]}"
    if own:
        _print(f"Starting {' and '.join(server.name for server in own)} in {home.path} ...")
    supervisor.start(*own)
    _migrate()
    password = _create_admin(home)
    _print("Starting the web server, the workers and beat ...")
    listeners = {"web": listener, "events": followers}
    supervisor.start(*_application(home, listeners, lock, scale))
    _print(_welcome(home, listener, password, time.monotonic() - began))
    supervisor.watch()


def _decide_settings(home: Home, lock: int) -> list[Service]:
    """Decide the settings of this process, its children and other terminals.

    Return the servers to run. Raises ImproperlyConfigured before anything is started.
    """
    home.env.unlink(missing_ok=True)
    own = []
    values = {name: given(name) for name in ("DATABASE_URL", "REDIS_URL")}
    if not values["DATABASE_URL"]:
        service, values["DATABASE_URL"] = servers.postgres(
            home.path / "postgres", home.port("postgres"), home.secret("postgres"),
            home.logs / "postgres.log", descriptors=(lock,),
        )  # fmt: skip
        own.append(service)
    if not values["REDIS_URL"]:
        service, values["REDIS_URL"] = servers.valkey(
            home.path / "valkey", home.port("valkey"), home.secret("valkey"),
            home.logs / "valkey.log", descriptors=(lock,),
        )  # fmt: skip
        own.append(service)
    values["SECRET_KEY"] = given("SECRET_KEY") or home.secret("django")
    values["CREDENTIALS_KEYS"] = given("CREDENTIALS_KEYS") or f"{home.secret('credentials')}="
    values["ENVIRONMENT"] = given("ENVIRONMENT") or "development"
    values["HYPERVISOR_HOME"] = str(home.path)
    os.environ.update(values)
    checked = env.read()
    home.write_env({**values, "HOST": checked["HOST"], "PORT": str(checked["PORT"])})
    return own


def _listen(host: str, port: int) -> socket.socket:
    """Listen on the port now; web servers inherit the socket, so a restart does not lose it."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise OSError(
            f"Port {port} of {host} cannot be used ({error.strerror})."
            f" Choose another port: PORT={port + 1} python3 manage.py up"
        ) from error


def _migrate() -> None:
    import django
    from django.core.management import call_command
    from django.db import connections

    os.environ["DJANGO_SETTINGS_MODULE"] = "hypervisor.settings"
    django.setup()
    call_command("migrate", verbosity=0, interactive=False)
    connections.close_all()


def _create_admin(home: Home) -> str | None:
    """Create the first superuser; return the password, or None if there is a superuser."""
    from django.contrib.auth import get_user_model
    from django.db import connections

    users = get_user_model()._default_manager
    try:
        if users.filter(is_superuser=True).exists():
            return None
        password = secrets.token_urlsafe(12)
        write_private(home.admin_password, f"{password}\n")
        users.create_superuser(username=ADMIN, email="", password=password)
    finally:
        connections.close_all()
    return password


# --- The processes of the application -------------------------------------------------------------


def _application(
    home: Home, listeners: Mapping[str, socket.socket], lock: int, scale: Mapping[str, int]
) -> Iterator[Service]:
    """Yield the processes of the application, the first of each kind before the second.

    `listeners` has the sockets of the kinds that serve HTTP.
    """
    for number in range(1, max([1, *scale.values()]) + 1):
        for kind in SCALABLE:
            if number <= scale.get(kind, 1):
                yield _process(kind, number, home, listeners.get(kind), lock)


def _process(
    kind: str, number: int, home: Home, listener: socket.socket | None, lock: int
) -> Service:
    name = kind if number == 1 else f"{kind}-{number}"
    command, is_ready = _of_kind(kind, name, listener)
    return Service(
        name=name,
        command=command,
        log=home.logs / f"{name}.log",
        environment={"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        is_ready=is_ready,
        descriptors=(listener.fileno(), lock) if listener else (lock,),
    )


def _of_kind(
    kind: str, name: str, listener: socket.socket | None
) -> tuple[list[str], Callable[[], bool]]:
    """Return the command of a process, and how to check that it is ready."""
    if listener is not None:
        url = f"{_url(listener)}/readyz"
        return _server(kind, listener.fileno()), lambda: _answers_http(url)
    if kind == "beat":
        # Nothing depends on beat: it only repeats what changes trigger.
        return _celery("beat"), lambda: True
    node = name.replace("worker", "celery")
    commands: dict[str, Callable[[str], list[str]]] = {
        "worker": partial(_worker, "celery"),
        "background": _background,
        "engines": _engines,
    }
    return commands[kind](node), lambda: _worker_answers(node)


def _server(kind: str, listener: int) -> list[str]:
    server = [sys.executable, "-m", "hypervisor.web"]
    if kind == "events":
        # One event loop reads for all followers.
        return [*server, "--events", "--processes", "1", "--fd", str(listener)]
    return [*server, "--processes", str(_WEB_PROCESSES), "--fd", str(listener)]


def _worker(queue: str, node: str) -> list[str]:
    return _celery(
        "worker", "-Ofair", "--queues", queue, "--hostname", f"{node}@%h",
        "--concurrency", str(_CELERY_PROCESSES), "--without-gossip", "--without-mingle",
    )  # fmt: skip


def _background(node: str) -> list[str]:
    """Return a worker of long cycles, which computes when the other processes do not."""
    return ["nice", "-n", str(_BACKGROUND_NICE), *_worker("background", node)]


def _engines(node: str) -> list[str]:
    return _celery(
        "worker", "--queues", "engines", "--hostname", f"{node}@%h",
        "--pool", "threads", "--concurrency", str(_ENGINE_THREADS),
        "--without-gossip", "--without-mingle",
    )  # fmt: skip


def _celery(*arguments: str) -> list[str]:
    celery = [sys.executable, "-m", "celery", "--app", "hypervisor", "--workdir", str(ROOT)]
    return [*celery, "--quiet", *arguments]


def _answers_http(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 this service's address
            return bool(answer.status == 200)
    except OSError:
        return False


def _worker_answers(name: str) -> bool:
    from hypervisor.celery import app

    node = f"{name}@{socket.gethostname()}"
    return bool(app.control.ping(destination=[node], timeout=0.5))


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "127.0.0.1", "::", "::1"):  # noqa: S104 compared, not bound
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _welcome(home: Home, listener: socket.socket, password: str | None, seconds: float) -> str:
    url = _url(listener)
    sign_in = f"as {ADMIN}; the password is in {_short(home.admin_password)}"
    if password:
        sign_in = f"as {ADMIN} with the password {password} (kept in {_short(home.admin_password)})"
    elif not home.admin_password.exists():
        sign_in = "as one of your superusers"
    return (
        f"\nMLOps Hypervisor is ready after {seconds:.1f} s.\n\n"
        f"    Open     {url}\n"
        f"    Sign in  {sign_in}\n\n"
        "The first page leads on. The API is at the same address, and /docs describes it.\n"
        f"Logs are in {_short(home.logs)}. Ctrl-C stops everything and loses nothing.\n"
    )


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _print(line: str) -> None:
    print(line, flush=True)
