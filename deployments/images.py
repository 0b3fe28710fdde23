"""The grammar of image references, as registries and engines parse them.

`[registry/]repository[:tag][@digest]`, as in the `reference` package of the distribution project.
"""

import re
from argparse import ArgumentTypeError
from functools import lru_cache

MAX_NAME = 255
_EXAMPLE = "Give a reference such as registry.example.org/team/train:1."

DOCKER_HUB = "docker.io"
_HUBS = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"}
"""Other names of Docker Hub."""

_ID = re.compile(r"[a-f0-9]{64}")
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(
    rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::(?P<port>[0-9]+))?"
)
_PART = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}


@lru_cache(maxsize=1024)
@lru_cache(maxsize=1024)
def check_reference(text: str) -> None:
    """Raise ValueError for a malformed reference, with a sentence for people and the remedy."""
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"An image reference has only ASCII characters and no spaces. {_EXAMPLE}")
    if _ID.fullmatch(text):
        raise ValueError("This is an image ID. Give the image's name, with a digest if you like.")
    tagged, at, digest = text.partition("@")
    if at:
        _check_digest(digest)
    name, colon, tag = tagged.rpartition(":")
    if not colon or "/" in tag:
        name = tagged
    elif not _TAG.fullmatch(tag):
        raise ValueError(
            f"The tag {tag!r} is malformed: use 1 to 128 letters, digits, '_', '.' and '-', not"
            " beginning with '.' or '-'."
        )
    _check_name(name)


def registry_of(image: str) -> str:
    """Return the host of the image's registry in lower case, DOCKER_HUB if its name has none."""
    first, slash, _ = image.partition("/")
    return _canonical(first) if slash and _names_registry(first) else DOCKER_HUB


def registry_host(text: str) -> str:
    """Return the host of a registry as `registry_of` does.

    Raises ValueError for a text that cannot be the host in an image's name, with the remedy.
    """
    if "/" in text:
        raise ValueError(
            "Give only the host of the registry, with a port if images name it, such as"
            " registry.example.org:5000: no https:// and no path."
        )
    _check_registry(text)
    if not _names_registry(text):
        raise ValueError(
            f"{text!r} in an image's name would be a part of the repository: the host of a registry"
            " has a dot or a port, or is localhost."
        )
    return _canonical(text)


def _canonical(host: str) -> str:
    host = host.lower()
    return DOCKER_HUB if host in _HUBS else host


def _names_registry(first: str) -> bool:
    """Whether the part of an image's name before the first slash names its registry."""
    return first == "localhost" or any(c in first for c in ".:[")


def argument(text: str) -> str:
    """Parse an image reference on a command line: the `type` of an option."""
    try:
        check_reference(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
    return text


def _check_name(name: str) -> None:
    first, slash, rest = name.partition("/")
    has_registry = bool(slash) and _names_registry(first)
    if has_registry:
        _check_registry(first)
    for part in (rest if has_registry else name).split("/"):
        _check_part(part)
    if len(_in_full(name, has_registry)) > MAX_NAME:
        raise ValueError(
            f"The name, including its registry, has more than {MAX_NAME} characters: use a shorter"
            " one."
        )


def _in_full(name: str, has_registry: bool) -> str:
    """Return the name with the registry that engines add."""
    if has_registry:
        return name
    return f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}"


def _check_registry(registry: str) -> None:
    match = _REGISTRY.fullmatch(registry)
    port = match and match["port"]
    if not match or (port and not (len(port) <= 5 and 1 <= int(port) <= 65535)):
        raise ValueError(
            f"The registry {registry!r} is malformed: give a host name or an IP address (IPv6 in"
            " brackets), optionally with a port from 1 to 65535."
        )


def _check_part(part: str) -> None:
    if not part:
        raise ValueError(f"The repository's name is empty or has an empty part. {_EXAMPLE}")
    if _PART.fullmatch(part):
        return
    if _PART.fullmatch(part.lower()):
        raise ValueError(f"A repository's name is in lower case: write {part.lower()!r}.")
    raise ValueError(
        f"The part {part!r} of the repository's name is malformed: use lower-case letters and"
        " digits, separated by '.', one or two '_', or any number of '-'."
    )


def _check_digest(digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    digits = _HEX_DIGITS.get(algorithm)
    if digits is None or not re.fullmatch(rf"[a-f0-9]{{{digits}}}", value):
        raise ValueError(
            "The digest is malformed: give '@sha256:' and 64 lower-case hexadecimal digits, or"
            " sha384 and 96, or sha512 and 128."
        )
