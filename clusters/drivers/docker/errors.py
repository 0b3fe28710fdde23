"""What an engine says when it refuses, in the one vocabulary of all engines."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3.exceptions
from docker.errors import APIError, DockerException

from clusters.drivers.base import Cause, DriverError

_NO_CONNECTION = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)

_NO_RIGHT = ("denied", "unauthorized", "forbidden", "authentication required")

_NONE_SUCH = ("manifest unknown", "not found", "no matching manifest")

_REFUSALS: tuple[tuple[str, Cause, bool, str], ...] = (
    (
        "range of cpus",
        Cause.OVER_CAPACITY,
        False,
        "The engine has fewer CPUs than `cpu` asks for: request less.",
    ),
    (
        "minimum memory limit",
        Cause.INVALID_SPEC,
        False,
        "The engine needs `ram_mib` to be larger (Docker: 6 or more).",
    ),
    (
        "could not select device driver",
        Cause.NO_DEVICE,
        False,
        "The engine cannot give GPUs: an operator has to install the NVIDIA Container Toolkit.",
    ),
    (
        "nvidia-container",
        Cause.NO_DEVICE,
        False,
        "The engine lacks the GPU: an operator has to correct the connection's devices.",
    ),
    (
        "invalid reference format",
        Cause.INVALID_SPEC,
        False,
        "`image` is no reference of an image, such as registry/name:tag: correct it.",
    ),
    (
        "no command specified",
        Cause.INVALID_SPEC,
        False,
        "The image has no command of its own: give `command`.",
    ),
    (
        "executable file not found",
        Cause.COMMAND_NOT_FOUND,
        False,
        "The image does not have the program that `command` names: correct `command`.",
    ),
    (
        "environment variable",
        Cause.INVALID_SPEC,
        False,
        "The engine refuses a name in `env`: correct it.",
    ),
    ("no space left", Cause.ENGINE_FAILED, True, "The engine's disk is full."),
)
"""A part of the message, what it means, whether it may pass, and what to do."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise whatever the engine or the way to it raises as a DriverError."""
    try:
        yield
    except APIError as error:
        raise refusal(error) from error
    except (DockerException, *_NO_CONNECTION) as error:
        raise unreachable(error) from error


def refusal(error: APIError) -> DriverError:
    said = str(error.explanation or error).strip()
    for part, cause, retriable, remedy in _REFUSALS:
        if part in said.lower():
            return DriverError(remedy, retriable=retriable, cause=cause)
    if error.response is not None and error.response.status_code == requests.codes.bad_request:
        return DriverError(
            f"The engine refused it: {said}", retriable=False, cause=Cause.INVALID_SPEC
        )
    return DriverError(f"The engine failed: {said}", retriable=True, cause=Cause.ENGINE_FAILED)


def unreachable(error: Exception) -> DriverError:
    if isinstance(error, requests.Timeout) or isinstance(_root(error), TimeoutError):
        why = "it does not answer"
    else:
        root = _root(error)
        why = (isinstance(root, OSError) and root.strerror) or str(root) or type(root).__name__
    return DriverError(
        f"The engine cannot be reached: {why}.", retriable=True, cause=Cause.UNREACHABLE
    )


def pull_failed(image: str, said: str, status: int | None = None) -> DriverError:
    """Return why an image could not be fetched: there is none, no right to it, or no way to it."""
    text = said.lower()
    # Docker Hub answers "denied" for a name that does not exist as well.
    if status in (401, 403) or any(
        word in text for word in ("denied", "unauthorized", "forbidden")
    ):
        return DriverError(
            f"Image {image} does not exist, or the engine has no right to fetch it: correct"
            f" `image`, or ask an operator for access to its registry. ({said})",
            retriable=False,
            cause=Cause.IMAGE_NOT_PULLABLE,
        )
    if status == requests.codes.not_found or any(word in text for word in _NONE_SUCH):
        return DriverError(
            f"Image {image} does not exist: correct `image` and submit it again. ({said})",
            retriable=False,
            cause=Cause.IMAGE_NOT_FOUND,
        )
    return DriverError(
        f"Image {image} cannot be fetched now: its registry does not answer as it should. ({said})",
        retriable=True,
        cause=Cause.IMAGE_NOT_PULLABLE,
    )


def _root(error: BaseException) -> BaseException:
    """Return what was raised first: the libraries wrap it several times."""
    while True:
        inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if inner is None:
            return error
        error = inner
