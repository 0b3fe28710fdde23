"""Kubernetes' reasons and sentences, turned into causes and into what to do."""

import re
from dataclasses import dataclass

from clusters.drivers.base import Cause

PULL_S = 300
"""For so long a failing pull is left to Kubernetes, which repeats it, when it may be a passing
fault."""

EVICTIONS = {"Evicted", "Preempting", "Shutdown", "NodeShutdown", "Terminated"}
"""Reasons of a Pod's status by which a kubelet says that it ended the Pod on purpose."""

_PULL_REASONS = {
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError", "SignatureValidationFailed",
}  # fmt: skip
_START_REASONS = {"StartError", "ContainerCannotRun", "RunContainerError", "CreateContainerError"}

_NO_IMAGE = re.compile(r"not found|manifest unknown|not exist|no such image", re.IGNORECASE)
_NO_ACCESS = re.compile(
    r"denied|unauthorized|authorization failed|authentication required|forbidden", re.IGNORECASE
)
_NO_COMMAND = re.compile(
    r"executable file not found|no such file or directory|permission denied|is a directory"
    r"|exec format error|no command specified",
    re.IGNORECASE,
)
_IMAGE = re.compile(r'image "([^"]+)"')
_OWN_LIMIT = re.compile(r"exceed", re.IGNORECASE)
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a container did not start or ended; not `final` while Kubernetes goes on trying."""

    cause: Cause
    message: str
    final: bool = True


OUT_OF_MEMORY = Failure(
    Cause.OUT_OF_MEMORY,
    "Used more memory than it may: give it a larger `ram_mib`, or have it use less.",
)
PROCESS_OUT_OF_MEMORY = (
    "One of its processes was killed because its memory was used up: check the result, or give it"
    " a larger `ram_mib`."
)
KILLED = Failure(Cause.KILLED, "Killed: it did not end within its grace period.")
KILLED_BY_OTHERS = Failure(
    Cause.KILLED, "Killed by a signal (SIGKILL) that neither we nor Kubernetes sent."
)
BAD_COMMANDS = {
    126: Failure(
        Cause.COMMAND_NOT_FOUND,
        "Exit code 126: what `command` names, or what it ran, cannot be executed. Correct it; the"
        " logs name the file.",
    ),
    127: Failure(
        Cause.COMMAND_NOT_FOUND,
        "Exit code 127: the image does not have what `command` names, or what it ran. Correct it;"
        " the logs name the program.",
    ),
}
DELETED = Failure(Cause.ENGINE_EVICTED, "Its Pod was deleted in Kubernetes by somebody else.")
NODE_FORGOT = Failure(
    Cause.NODE_LOST, "Its node lost track of the container, as after a restart of the node."
)


def evicted(reason: str, said: str) -> Failure:
    """Return an ending that Kubernetes decided on.

    One exception: storage beyond the Pod's own limit also counts as an eviction there.
    """
    if _OWN_LIMIT.search(said):
        return Failure(Cause.KILLED, f"Used more storage than it may: {_cut(said)}")
    return Failure(Cause.ENGINE_EVICTED, f"Evicted by Kubernetes ({reason}): {_cut(said)}")


def node_lost(said: str) -> Failure:
    return Failure(Cause.NODE_LOST, f"Its node was lost: {_cut(said)}")


def node_silent(node: str) -> Failure:
    return Failure(
        Cause.NODE_LOST,
        f"Node {node} does not say whether the container still runs, which keeps what it requested"
        " until Kubernetes knows. If the machine is off for good, delete the node in Kubernetes.",
    )


def fetching(said: str) -> str:
    """Return the sentence for an image that is being fetched; `said` is the node's message."""
    image = _IMAGE.search(said)
    return f"Image {image[1]} is being fetched." if image else "Its image is being fetched."


def held_up(reason: str, said: str) -> str:
    """Return how it is told that the node cannot start the container yet."""
    return f"Its node cannot start it yet ({reason}): {_cut(said)}"


def rejected(reason: str, said: str) -> Failure:
    return Failure(
        Cause.ENGINE_FAILED, f"The node turned the Pod away ({reason or 'Failed'}): {_cut(said)}"
    )


def unscheduled(said: str, *, final: bool) -> Failure:
    return Failure(
        Cause.OVER_CAPACITY,
        f"No node has room for it: {_cut(said)} If it stays so, request less, or have an operator"
        " correct the cluster's size.",
        final=final,
    )


def not_started(reason: str, said: str) -> Failure | None:
    """Return why the container's process could not be started; None when that is not the reason."""
    if reason not in _START_REASONS:
        return None
    if _NO_COMMAND.search(said):
        # What goes before it tells of the runtime's own layers.
        said = said[max(said.rfind("exec: "), 0) :]
        return Failure(
            Cause.COMMAND_NOT_FOUND,
            f"The command cannot be run, correct `command` or the image: {_cut(said)}",
        )
    if "OOM-killed" in said:
        return OUT_OF_MEMORY
    return Failure(Cause.ENGINE_FAILED, f"The container could not be started: {_cut(said)}")


def waiting(reason: str, said: str, waited_s: float) -> Failure | None:
    """Return why a container has waited for so many seconds; None when that is as it should be."""
    if reason in _PULL_REASONS:
        return _not_pulled(said or reason, waited_s)
    if reason == "InvalidImageName":
        return Failure(
            Cause.INVALID_SPEC, f"`image` is not the name of an image, correct it: {_cut(said)}"
        )
    if reason == "CreateContainerConfigError":
        return Failure(Cause.INVALID_SPEC, f"The container cannot be made: {_cut(said)}")
    failure = not_started(reason, said)
    if failure and failure.cause is Cause.ENGINE_FAILED and waited_s < PULL_S:
        return Failure(failure.cause, failure.message, final=False)
    return failure


def _not_pulled(said: str, waited_s: float) -> Failure:
    if _NO_ACCESS.search(said):
        return Failure(
            Cause.IMAGE_NOT_PULLABLE,
            "The image does not exist, or may not be pulled: correct `image`, or have an operator"
            f" give the namespace's default service account a pull secret. {_cut(said)}",
        )
    if _NO_IMAGE.search(said):
        return Failure(
            Cause.IMAGE_NOT_FOUND, f"The image does not exist, correct `image`: {_cut(said)}"
        )
    return Failure(
        Cause.IMAGE_NOT_PULLABLE,
        f"The image cannot be pulled now: {_cut(said)}",
        final=waited_s >= PULL_S,
    )


def _cut(said: str) -> str:
    said = said.strip()[:_LONGEST]
    return said if said.endswith(".") else f"{said}."
