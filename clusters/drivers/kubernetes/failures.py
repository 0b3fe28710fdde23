"""Translate Kubernetes' reasons and messages into causes and remedies."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from clusters.drivers.base import NO_ACCESS, Cause
from clusters.drivers.kubernetes.capacity import RESOURCES

PULL_S = 300
"""How long Kubernetes may repeat a failing pull that may be a temporary fault."""

EVICTIONS = {"Evicted", "Preempting", "Shutdown", "NodeShutdown", "Terminated"}
"""Reasons in a Pod's status with which a kubelet reports that it ended the Pod on purpose."""

_REFUSALS = {
    "UnexpectedAdmissionError", "TopologyAffinityError", "NodeAffinity", "Taint", "NodePorts",
}  # fmt: skip
"""Reasons, besides OutOfcpu and its like, with which a kubelet refuses a Pod."""

_OUT_OF = re.compile(r"^OutOf(\S+)")
_INSUFFICIENT = re.compile(r"Insufficient ([^\s,]*[^\s,.])")

_PULL_REASONS = {
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError", "SignatureValidationFailed",
}  # fmt: skip
_NO_SECRET = re.compile(r'^(secret "[^"]*" not found|couldn\'t find key )')
_START_REASONS = {"StartError", "ContainerCannotRun", "RunContainerError", "CreateContainerError"}

_NO_IMAGE = re.compile(r"not found|manifest unknown|not exist|no such image", re.IGNORECASE)
_NO_ACCESS = re.compile(
    r"denied|unauthorized|authorization failed|authentication required|forbidden"
    r"|basic auth credentials|incorrect username",
    re.IGNORECASE,
)
_NO_COMMAND = re.compile(
    r"executable file not found|no such file or directory|permission denied|is a directory"
    r"|exec format error|no command specified",
    re.IGNORECASE,
)
_IMAGE = re.compile(r'image "([^"]+)"')
_OWN_LIMIT = re.compile(r"exceed(s|ed) (its local ephemeral storage |the (total )?)limit")
"""The messages of an eviction because of a limit. A Pod that was evicted because its node lacks
something may be said to exceed its request."""
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a container did not start or why it ended; not `final` while Kubernetes keeps trying.

    `lacks` are the dimensions of which its node has too little.
    """

    cause: Cause
    message: str
    final: bool = True
    lacks: tuple[str, ...] = ()


OUT_OF_MEMORY = Failure(
    Cause.OUT_OF_MEMORY,
    "Was killed because it used more memory than it may: request a larger `ram_mib`, or make the"
    " program use less.",
)
PROCESS_OUT_OF_MEMORY = (
    "One of its processes was killed because its memory was used up: check the result, or request a"
    " larger `ram_mib`."
)
KILLED = Failure(
    Cause.KILLED,
    "Was killed because it did not end within its grace period: make the program end on SIGTERM.",
)
KILLED_BY_OTHERS = Failure(
    Cause.KILLED,
    "Was killed by a SIGKILL that was sent neither by the hypervisor nor by Kubernetes: check"
    " whether the program or a person on the node sent it.",
)
BAD_COMMANDS = {
    126: Failure(
        Cause.COMMAND_NOT_FOUND,
        "Exit code 126: a file could not be executed, either the one that `command` names or one"
        " that it ran. The logs name the file: correct `command` or the image.",
    ),
    127: Failure(
        Cause.COMMAND_NOT_FOUND,
        "Exit code 127: a program was not found in the image, either the one that `command` names"
        " or one that it ran. The logs name the program: correct `command` or the image.",
    ),
}
DELETED = Failure(Cause.ENGINE_EVICTED, "Its Pod was deleted in Kubernetes by another client.")
SECRET_DELETED = Failure(
    Cause.ENGINE_FAILED, "Its Secret was deleted in Kubernetes by another client."
)
NODE_LOST_TRACK = Failure(
    Cause.NODE_LOST, "Its node lost track of the container, probably after a restart of the node."
)


def evicted(reason: str, detail: str) -> Failure:
    """Return the failure for an ending that Kubernetes decided on.

    Kubernetes also calls it an eviction when a Pod exceeds its own storage limit.
    """
    if _OWN_LIMIT.search(detail):
        return Failure(
            Cause.OUT_OF_STORAGE,
            "Was killed because it used more ephemeral storage than it may: set a larger"
            f" `ephemeral_storage_mib`, or make the program write less. ({_cut(detail)})",
        )
    return Failure(Cause.ENGINE_EVICTED, f"Evicted by Kubernetes ({reason}): {_cut(detail)}")


def node_lost(detail: str) -> Failure:
    return Failure(Cause.NODE_LOST, f"Its node was lost: {_cut(detail)}")


def node_silent(node: str) -> Failure:
    return Failure(
        Cause.NODE_LOST,
        f"Node {node} does not report whether the container still runs, so the container keeps its"
        " resources until Kubernetes finds out. If the machine is off for good, delete the node in"
        " Kubernetes.",
    )


def pulling(detail: str) -> str:
    """Return the message for an image that is being pulled; `detail` is the node's message."""
    image = _IMAGE.search(detail)
    return f"Image {image[1]} is being pulled." if image else "Its image is being pulled."


def not_yet_started(reason: str, detail: str) -> str:
    """Return the message for a container that its node cannot start yet."""
    return f"Its node cannot start it yet ({reason}): {_cut(detail)}"


def rejected(reason: str, detail: str) -> Failure:
    refused = reason.startswith("OutOf") or reason in _REFUSALS
    return Failure(
        Cause.NODE_REFUSED if refused else Cause.ENGINE_FAILED,
        f"The node rejected the Pod ({reason or 'Failed'}): {_cut(detail)}",
        lacks=_dimensions(_OUT_OF.findall(reason)),
    )


def refused(node: str, detail: str, *, final: bool) -> Failure:
    """Return the failure of a Pod that the scheduler does not place on the node it is bound to."""
    return Failure(
        Cause.NODE_REFUSED,
        f"Node {node} does not take its Pod: {_cut(detail)}",
        final=final,
        lacks=_dimensions(_INSUFFICIENT.findall(detail)),
    )


def unscheduled(detail: str, *, final: bool) -> Failure:
    return Failure(
        Cause.OVER_CAPACITY,
        f"No node has enough free resources for it: {_cut(detail)} If this persists, request less,"
        " or ask an operator to correct the cluster's capacity.",
        final=final,
    )


def not_started(reason: str, detail: str) -> Failure | None:
    """Return why the container's process could not be started; None for any other reason."""
    if reason not in _START_REASONS:
        return None
    if _NO_COMMAND.search(detail):
        # The text before it is about the layers of the container runtime.
        detail = detail[max(detail.rfind("exec: "), 0) :]
        return Failure(
            Cause.COMMAND_NOT_FOUND,
            f"The command cannot be run: correct `command` or the image. ({_cut(detail)})",
        )
    if "OOM-killed" in detail:
        return OUT_OF_MEMORY
    return Failure(Cause.ENGINE_FAILED, f"The container could not be started: {_cut(detail)}")


def waiting(reason: str, detail: str, waited_s: float) -> Failure | None:
    """Return the failure of a container that has been waiting for this many seconds, or None."""
    if reason in _PULL_REASONS:
        return _not_pulled(detail or reason, waited_s)
    if reason == "InvalidImageName":
        return Failure(
            Cause.INVALID_SPEC,
            f"`image` is not a valid image reference: correct it. ({_cut(detail)})",
        )
    if reason == "CreateContainerConfigError" and _NO_SECRET.search(detail):
        return SECRET_DELETED
    if reason == "CreateContainerConfigError" and "runAsNonRoot" in detail:
        return Failure(
            Cause.INVALID_SPEC,
            "The container may not run as root: set `run_as` to the id of another user."
            f" ({_cut(detail)})",
        )
    if reason == "CreateContainerConfigError":
        return Failure(
            Cause.INVALID_SPEC,
            f"The container cannot be created: correct the deployment. ({_cut(detail)})",
        )
    failure = not_started(reason, detail)
    if failure and failure.cause is Cause.ENGINE_FAILED and waited_s < PULL_S:
        return Failure(failure.cause, failure.message, final=False)
    return failure


def _not_pulled(detail: str, waited_s: float) -> Failure:
    if _NO_ACCESS.search(detail):
        return Failure(
            Cause.IMAGE_NOT_PULLABLE,
            f"The image does not exist, or may not be pulled: {NO_ACCESS}. ({_cut(detail)})",
        )
    if _NO_IMAGE.search(detail):
        return Failure(
            Cause.IMAGE_NOT_FOUND, f"The image does not exist: correct `image`. ({_cut(detail)})"
        )
    return Failure(
        Cause.IMAGE_NOT_PULLABLE,
        "The image cannot be pulled at present: ask an operator to check the registry if this"
        f" persists. ({_cut(detail)})",
        final=waited_s >= PULL_S,
    )


def _dimensions(resources: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name, resource in RESOURCES.items() if resource in set(resources))


def _cut(detail: str) -> str:
    detail = detail.strip()[:_LONGEST]
    return detail if detail.endswith(".") else f"{detail}."
