"""The deployments that `--label` and `--array` select."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from hypervisor_client.api import JSON, Client
from hypervisor_client.errors import ApiError, ClientError, NotOne

_OPTIONS = ("label", "array")


def selected(given: Namespace) -> JSON:
    """Return the filters that the options give, {} if they give none.

    Raises ClientError if both deployments and filters are given, or neither.
    """
    wanted = {name: getattr(given, name) for name in _OPTIONS if getattr(given, name) is not None}
    takes_names = hasattr(given, "deployments")
    named = takes_names and bool(given.deployments)
    if wanted and named:
        raise ClientError("Name deployments or select them with --label or --array, not both.")
    if not wanted and not named:
        how = "Name deployments, or select them" if takes_names else "Select deployments"
        raise ClientError(f"{how} with --label or --array.")
    return wanted


def check_match(client: Client, filters: JSON) -> None:
    """Raise NotOne if the options select nothing, of any status: probably one of them is wrong."""
    if none := no_match(client, filters):
        raise NotOne(f"{none}: hv ps --all")


def no_match(client: Client, filters: JSON) -> str:
    """Return a sentence if the options select nothing, of any status; else "".

    Raises NotOne if there is no such array.
    """
    options = {n: filters[n] for n in _OPTIONS if filters.get(n) is not None}
    if not options or next(client.deployments(limit=1, **options), None) is not None:
        return ""
    if "array" in options:
        with existing(options["array"]):
            client.array(options["array"])
    labels = [f"--label {label}" for label in options.get("label", ())]
    arrays = [f"--array {options['array']}"] if "array" in options else []
    return f"No deployment matches {' '.join(labels + arrays)}"


@contextmanager
def existing(array: int) -> Iterator[None]:
    """Turn the service's 404 about an array into NotOne."""
    try:
        yield
    except ApiError as error:
        if error.status != 404:
            raise
        raise NotOne(f"You can see no array {array}: hv arrays") from error
