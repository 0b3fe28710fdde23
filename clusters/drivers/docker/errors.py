"""Translate the errors of an engine into the vocabulary of all engines, with remedies."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3.exceptions
from docker.errors import APIError, DockerException

from clusters.drivers.base import NO_ACCESS, Cause, DriverError

_NO_CONNECTION = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)

_NO_ACCESS = (
    "denied", "unauthorized", "forbidden", "authentication required", "basic auth credentials",
    "incorrect username",
)  # fmt: skip
_NONE_SUCH = ("manifest unknown", "not found", "no matching manifest")

NO_STORAGE_LIMITS = (
    "The engine cannot limit storage, which takes the storage driver overlay2 on XFS with project"
    " quotas (`pquota`), or btrfs or zfs: leave `ephemeral_storage_mib` out, or request another"
    " cluster."
)

_REFUSALS: tuple[tuple[str, Cause, bool, str], ...] = (
    (
        "range of cpus",
        Cause.OVER_CAPACITY,
        False,
        "The engine has fewer CPUs than `cpu` requests: request less.",
    ),
    (
        "minimum memory limit",
        Cause.INVALID_SPEC,
        False,
        "`ram_mib` is below the engine's minimum (6 for Docker): request more.",
    ),
    (
        "could not select device driver",
        Cause.NO_DEVICE,
        False,
        "The engine cannot provide GPUs: an operator has to install the NVIDIA Container Toolkit.",
    ),
    (
        "nvidia-container",
        Cause.NO_DEVICE,
        False,
        "The engine does not have the GPU: an operator has to correct the connection's GPUs.",
    ),
    (
        "invalid reference format",
        Cause.INVALID_SPEC,
        False,
        "`image` is not a valid image reference, such as registry/name:tag: correct it.",
    ),
    (
        "no command specified",
        Cause.INVALID_SPEC,
        False,
        "The image has no default command: set `command`.",
    ),
    (
        "executable file not found",
        Cause.COMMAND_NOT_FOUND,
        False,
        "The image does not contain the program that `command` names: correct `command`.",
    ),
    (
        "environment variable",
        Cause.INVALID_SPEC,
        False,
        "The engine refuses the name of an environment variable: correct `env`.",
    ),
    ("storage-opt", Cause.NO_STORAGE_LIMIT, False, NO_STORAGE_LIMITS),
    (
        "no space left",
        Cause.ENGINE_FAILED,
        True,
        "The engine's disk is full: an operator has to free space on it.",
    ),
)
"""A part of the engine's message, its cause, whether it is retriable, and the message with the
remedy."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn the errors of the engine and of the connection to it into DriverError."""
    try:
        yield
    except APIError as error:
        raise refusal(error) from error
    except (DockerException, *_NO_CONNECTION) as error:
        raise unreachable(error) from error


def refusal(error: APIError) -> DriverError:
    text = str(error.explanation or error).strip()
    for part, cause, retriable, remedy in _REFUSALS:
        if part in text.lower():
            return DriverError(remedy, retriable=retriable, cause=cause)
    if error.response is not None and error.response.status_code == requests.codes.bad_request:
        return DriverError(
            f"The engine refused the container: correct the deployment. ({text})",
            retriable=False,
            cause=Cause.INVALID_SPEC,
        )
    return DriverError(f"The engine failed: {text}", retriable=True, cause=Cause.ENGINE_FAILED)


def unreachable(error: Exception) -> DriverError:
    if isinstance(error, requests.Timeout) or isinstance(_root(error), TimeoutError):
        why = "it does not answer"
    else:
        root = _root(error)
        why = (isinstance(root, OSError) and root.strerror) or str(root) or type(root).__name__
    return DriverError(
        f"The engine cannot be reached: {why}. An operator has to check that it runs, and how the"
        " cluster is connected to it.",
        retriable=True,
        cause=Cause.UNREACHABLE,
    )


def pull_failed(image: str, message: str, status: int | None = None) -> DriverError:
    """Return the error of a failed pull: no image, no right to it, or a faulty registry."""
    text = message.lower()
    # Docker Hub also answers "denied" for an image that does not exist.
    if status in (401, 403) or any(words in text for words in _NO_ACCESS):
        return DriverError(
            f"Image {image} does not exist, or may not be pulled: {NO_ACCESS}. ({message})",
            retriable=False,
            cause=Cause.IMAGE_NOT_PULLABLE,
        )
    if status == requests.codes.not_found or any(word in text for word in _NONE_SUCH):
        return DriverError(
            f"Image {image} does not exist: correct `image` and submit the deployment again."
            f" ({message})",
            retriable=False,
            cause=Cause.IMAGE_NOT_FOUND,
        )
    return DriverError(
        f"Image {image} cannot be pulled at present, because its registry does not respond"
        f" properly. If this persists, ask an operator to check the registry. ({message})",
        retriable=True,
        cause=Cause.IMAGE_NOT_PULLABLE,
    )


def _root(error: BaseException) -> BaseException:
    """Return the original error, which the libraries wrap several times."""
    while True:
        inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if inner is None:
            return error
        error = inner
