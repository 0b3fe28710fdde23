"""The processes that `manage.py up` starts."""

import socket
from pathlib import Path

import pytest

from hypervisor.standalone import overview, up
from hypervisor.standalone.home import Home
from hypervisor.standalone.process import Service


def started(home: Path, *arguments: str) -> list[Service]:
    scale = dict(overview.up_parser().parse_args(arguments).scale)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listeners = {"web": listener, "events": listener}
        return list(up._application(Home(home), listeners, 0, scale))


def node(service: Service) -> str | None:
    command = list(service.command)
    return command[command.index("--hostname") + 1] if "--hostname" in command else None


def test_it_starts_one_process_of_each_kind(tmp_path: Path) -> None:
    found = {service.name: node(service) for service in started(tmp_path)}

    assert found == {
        "web": None, "events": None, "worker": "celery@%h", "background": "background@%h",
        "engines": "engines@%h", "beat": None,
    }  # fmt: skip


def test_it_starts_several_processes_each_with_its_own_name_and_log(tmp_path: Path) -> None:
    found = started(tmp_path, "--scale", "worker=3", "--scale", "beat=2")

    names = [service.name for service in found]
    assert sorted(names) == [
        "background", "beat", "beat-2", "engines", "events", "web", "worker", "worker-2", "worker-3"
    ]  # fmt: skip
    assert [node(s) for s in found if s.name == "worker-3"] == ["celery-3@%h"]
    assert len({service.log for service in found}) == len(found)


@pytest.mark.parametrize("text", ["postgres=2", "worker", "worker=0", "worker=x", "worker=65"])
def test_it_refuses_what_cannot_be_scaled(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        overview.up_parser().parse_args(["--scale", text])

    assert (
        "give KIND=N: one of web, events, worker, background, engines, beat"
        in capsys.readouterr().err
    )
