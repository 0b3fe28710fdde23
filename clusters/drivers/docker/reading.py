"""Translate the engine's responses into observations."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from clusters.drivers.base import Cause, Observation, Phase
from clusters.drivers.docker.endings import Ending, EngineEvents
from clusters.drivers.docker.labels import DEVICES, RUN, deadline_of, name_of, uid_of
from clusters.drivers.docker.times import parse

ENDED = ("exited", "dead")

_NOT_EXECUTABLE, _NOT_FOUND, _SIGKILLED = 126, 127, 137
_NOT_ITS_OWN = {
    Ending.STOPPED_BY_OTHERS: (
        Cause.ENGINE_EVICTED,
        "Was stopped on its engine, by another client or by the engine as it restarted.",
    ),
    Ending.WITH_THE_ENGINE: (Cause.ENGINE_FAILED, "Ended because its engine went down."),
}


def preparing(listed: Mapping[str, Any]) -> Observation:
    return Observation(phase=Phase.PREPARING, devices=devices(listed), **_about(listed))


def _about(listed: Mapping[str, Any], inspected: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the container's uid, and its run, name, image and command for people.

    The command is empty without `inspected`, because the list has it only as one text.
    """
    command = inspected["Config"]["Cmd"] or () if inspected else ()
    run = listed["Labels"].get(RUN, "")
    return {
        "uid": uid_of(listed),
        "run_id": int(run) if run.isdecimal() else 0,
        "name": name_of(listed),
        "image": inspected["Config"]["Image"] if inspected else listed["Image"],
        "command": tuple(command),
    }


def devices(listed: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(filter(None, listed["Labels"].get(DEVICES, "").split(",")))


def running(listed: Mapping[str, Any], inspected: Mapping[str, Any]) -> Observation:
    return Observation(
        phase=Phase.RUNNING,
        until=deadline_of(listed),
        started_at=parse(inspected["State"]["StartedAt"]),
        devices=devices(listed),
        **_about(listed, inspected),
    )


def was_stopped(listed: Mapping[str, Any]) -> bool:
    """Whether this product asked the container to stop."""
    return deadline_of(listed) is not None


def exited(
    listed: Mapping[str, Any], inspected: Mapping[str, Any], events: EngineEvents | None
) -> Observation:
    """Return how the container ended. Pass no `events` if it was asked to stop."""
    state = inspected["State"]
    code = int(state["ExitCode"])
    started_at, ended_at = _times(state)
    ram_mib = inspected["HostConfig"]["Memory"] // 2**20
    if state["OOMKilled"]:
        cause, message = _out_of_memory(code, ram_mib)
    elif events is None:
        cause, message = _stopped(code)
    else:
        ending = events.ending(inspected["Id"], code, ended_at)
        cause, message = _NOT_ITS_OWN.get(ending) or _of_its_own(code)
    return Observation(
        phase=Phase.EXITED,
        exit_code=code,
        cause=cause,
        message=message,
        started_at=started_at,
        exited_at=ended_at,
        **_about(listed, inspected),
    )


def _times(state: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """Return the start and the end; the engine may record the end of a very short run first."""
    started_at, ended_at = parse(state["StartedAt"]), parse(state["FinishedAt"])
    if started_at and ended_at:
        return started_at, max(started_at, ended_at)
    return started_at, ended_at


def _out_of_memory(code: int, ram_mib: int) -> tuple[Cause | None, str]:
    if code == 0:
        return None, (
            f"One of its processes was killed because its {ram_mib} MiB of memory were used up:"
            " check the result, or request a larger `ram_mib`."
        )
    return Cause.OUT_OF_MEMORY, (
        f"Was killed because it used more than its {ram_mib} MiB of memory: request a larger"
        " `ram_mib`, or make the program use less."
    )


def _stopped(code: int) -> tuple[Cause | None, str]:
    if code != _SIGKILLED:
        return None, ""
    return Cause.KILLED, (
        "Was killed because it did not end within its grace period: make the program end on"
        " SIGTERM."
    )


def _of_its_own(code: int) -> tuple[Cause | None, str]:
    if code == _SIGKILLED:
        return Cause.KILLED, (
            "Was killed by a SIGKILL that was sent neither by the hypervisor nor because of its"
            " memory: check whether the program or a person on the machine sent it."
        )
    if code == _NOT_FOUND:
        return Cause.COMMAND_NOT_FOUND, (
            "Exit code 127: a program was not found in the image, either the one that `command`"
            " names or one that it ran. The logs name the program: correct `command` or the image."
        )
    if code == _NOT_EXECUTABLE:
        return Cause.COMMAND_NOT_FOUND, (
            "Exit code 126: a file could not be executed, either the one that `command` names or"
            " one that it ran. The logs name the file: correct `command` or the image."
        )
    return None, ""
