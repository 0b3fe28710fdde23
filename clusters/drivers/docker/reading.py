"""What the engine's answers mean."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from clusters.drivers.base import Cause, Observation, Phase
from clusters.drivers.docker.labels import DEVICES, RUN, deadline_of, name_of, uid_of
from clusters.drivers.docker.times import parse
from clusters.drivers.docker.witness import Fate, Witness

ENDED = ("exited", "dead")

_NOT_EXECUTABLE, _NOT_FOUND, _SIGKILLED = 126, 127, 137
_NOT_ITS_OWN = {
    Fate.STOPPED_BY_OTHERS: (
        Cause.ENGINE_EVICTED,
        "Was stopped on its engine, by somebody else or by the engine when it started again.",
    ),
    Fate.ENDED_WITH_THE_ENGINE: (Cause.ENGINE_FAILED, "Ended with its engine, which went down."),
}


def preparing(listed: Mapping[str, Any]) -> Observation:
    return Observation(phase=Phase.PREPARING, devices=devices(listed), **_about(listed))


def _about(listed: Mapping[str, Any], inspected: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return by what it is known, by us and by people; the list has its command as one text."""
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
    """Whether we asked it to stop."""
    return deadline_of(listed) is not None


def exited(
    listed: Mapping[str, Any], inspected: Mapping[str, Any], witness: Witness | None
) -> Observation:
    """Return how it ended; the witness is asked unless we stopped it ourselves."""
    state = inspected["State"]
    code = int(state["ExitCode"])
    started_at, ended_at = _times(state)
    ram_mib = inspected["HostConfig"]["Memory"] // 2**20
    if state["OOMKilled"]:
        cause, message = _out_of_memory(code, ram_mib)
    elif witness is None:
        cause, message = _stopped(code)
    else:
        fate = witness.fate(inspected["Id"], code, ended_at)
        cause, message = _NOT_ITS_OWN.get(fate) or _by_itself(code)
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
    """Return when it began and ended; of a very short one the engine notes the end first."""
    started_at, ended_at = parse(state["StartedAt"]), parse(state["FinishedAt"])
    if started_at and ended_at:
        return started_at, max(started_at, ended_at)
    return started_at, ended_at


def _out_of_memory(code: int, ram_mib: int) -> tuple[Cause | None, str]:
    if code == 0:
        return None, (
            f"One of its processes was killed because its {ram_mib} MiB were used up: check the"
            " result, or give it a larger `ram_mib`."
        )
    return Cause.OUT_OF_MEMORY, (
        f"Used more memory than its {ram_mib} MiB and was killed: give it a larger `ram_mib`, or"
        " have it use less."
    )


def _stopped(code: int) -> tuple[Cause | None, str]:
    if code != _SIGKILLED:
        return None, ""
    return Cause.KILLED, (
        "Had not ended when its grace was over, and was killed: have it end on SIGTERM."
    )


def _by_itself(code: int) -> tuple[Cause | None, str]:
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
