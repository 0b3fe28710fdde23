"""What `hv` does with groups: labels and arrays, against a real service."""

import json

import pytest

from benchmarks.client import Client
from tests.client.conftest import Run


def test_an_array_is_submitted_awaited_and_retried(hv: Run, log_in: None, ada: Client) -> None:
    simulated = ("--env", "SIMULATE_RUN_SECONDS=0", "--env", "SIMULATE_EXIT_CODE=3")
    small = ("--cpu", "0.1", "--ram", "64", "--label", "run=1")

    made = hv("submit", "--image", "a:1", "--array", "3", "--at-once", "2", *small, *simulated)
    array = made.stdout.strip()
    waited = hv("wait", "--array", array)

    assert waited.returncode == 3, waited.stderr
    assert "3 failed" in waited.stderr
    assert ada.get(f"/arrays/{array}")["counts"]["failed"] == 3
    assert array in hv("arrays").stdout
    assert (
        json.loads(hv("retry", "--array", array, "--dry-run", "--json").stdout)["dry_run"] is True
    )
    assert hv("retry", "--label", "run=1").stdout.strip() == "Changed 3 deployments."
    assert hv("wait", "--label", "run=1").returncode == 3


def test_a_group_is_changed_and_what_was_not_is_reported(hv: Run, log_in: None) -> None:
    hv("submit", "--image", "a:1", "--gpu", "2", "--priority", "90", "--name", "first",
       "--label", "run=2")  # fmt: skip
    hv("wait", "first", "--until", "running")
    hv("submit", "--image", "a:1", "--gpu", "2", "--name", "second", "--label", "run=2")

    assert hv("priority", "80", "--label", "run=2").stdout.strip() == "Changed 2 deployments."
    assert (
        hv("hold", "--label", "run=2", "--label", "no").stdout.strip() == "Changed 0 deployments."
    )
    cancelled = hv("cancel", "--label", "run=2")
    assert (cancelled.stdout.strip(), cancelled.returncode) == ("Changed 1 deployment.", 1)
    assert "It is running: stop it instead." in cancelled.stderr
    assert "first" in hv("ps", "--label", "run=2").stdout
    assert hv("stop", "--label", "run=2").returncode == 0
    assert hv("wait", "--label", "run=2").returncode == 125


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cancel",), "select them with --label or --array"),
        (("wait", "7", "--label", "run=1"), "select them with --label or --array"),
        (("retry",), "select them with --label or --array"),
        (("priority", "80"), "select them with --label or --array"),
        (("wait", "--label", "run=nothing"), "no such deployment"),
        (("submit", "--image", "a:1", "--at-once", "2"), "give its size with --array"),
        (("submit", "--image", "a:1", "--label", "team"), "write NAME=VALUE"),
    ],
)
def test_an_unclear_group_is_refused(
    hv: Run, log_in: None, arguments: tuple[str, ...], said: str
) -> None:
    done = hv(*arguments)

    assert done.returncode == 1
    assert said in done.stderr
