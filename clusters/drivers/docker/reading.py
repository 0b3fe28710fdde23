"""What the engine's answers mean."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from clusters.drivers.base import Cause, Observation, Phase
from clusters.drivers.docker.labels import DEVICES, RUN, deadline_of

ENDED = ("exited", "dead")

_NOT_EXECUTABLE, _NOT_FOUND, _SIGKILLED = 126, 127, 137
_NEVER = "0001-01-01"
_TIME = re.compile(r"(.*?)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:\d\d)\Z")


def run_id(listed: Mapping[str, Any]) -> int:
    return int(listed["Labels"][RUN])


def devices(listed: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(filter(None, listed["Labels"].get(DEVICES, "").split(",")))


def running(listed: Mapping[str, Any], inspected: Mapping[str, Any]) -> Observation:
    return Observation(
        run_id(listed),
        Phase.RUNNING,
        until=deadline_of(listed),
        started_at=_time(inspected["State"]["StartedAt"]),
        devices=devices(listed),
    )


def exited(listed: Mapping[str, Any], inspected: Mapping[str, Any]) -> Observation:
    state = inspected["State"]
    code = int(state["ExitCode"])
    ram_mib = inspected["HostConfig"]["Memory"] // 2**20
    cause, message = _ending(code, state, ram_mib, was_stopped=deadline_of(listed) is not None)
    return Observation(
        run_id(listed),
        Phase.EXITED,
        exit_code=code,
        cause=cause,
        message=message,
        started_at=_time(state["StartedAt"]),
        exited_at=_time(state["FinishedAt"]),
    )


def _ending(
    code: int, state: Mapping[str, Any], ram_mib: int, *, was_stopped: bool
) -> tuple[Cause | None, str]:
    if state["OOMKilled"] and code != 0:
        return Cause.OUT_OF_MEMORY, (
            f"Used more memory than its {ram_mib} MiB and was killed: give it a larger `ram_mib`,"
            " or have it use less."
        )
    if state["OOMKilled"]:
        return None, f"One of its processes was killed for lack of memory ({ram_mib} MiB)."
    if code == _SIGKILLED and was_stopped:
        return Cause.KILLED, (
            "Had not ended when its grace was over, and was killed: have it end on SIGTERM."
        )
    if code == _SIGKILLED:
        return Cause.KILLED, "Was killed by SIGKILL, not by us and not for lack of memory."
    if code == _NOT_FOUND:
        return Cause.COMMAND_NOT_FOUND, (
            "Exit code 127: `command` names a program that the image does not have, or what it ran"
            " did. Correct `command`; the logs name the program."
        )
    if code == _NOT_EXECUTABLE:
        return Cause.COMMAND_NOT_FOUND, (
            "Exit code 126: `command` names a file that cannot be executed, or what it ran did."
            " Correct `command`; the logs name the file."
        )
    return None, ""


def _time(text: str) -> datetime | None:
    """Return one of the engine's times, which have nanoseconds, to the microsecond."""
    match = _TIME.match(text)
    if match is None or text.startswith(_NEVER):
        return None
    seconds, fraction, zone = match.groups("0")
    return datetime.fromisoformat(f"{seconds}.{fraction:0<6}{zone.replace('Z', '+00:00')}")
