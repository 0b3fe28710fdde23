"""What `hv` does with groups: labels and arrays, against a real service."""

import json
from typing import Any

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
    cancelled = hv("cancel", "--label", "run=2")
    assert (cancelled.stdout.strip(), cancelled.returncode) == ("Changed 1 deployment.", 1)
    assert "It is running: stop it instead." in cancelled.stderr
    assert "first" in hv("ps", "--label", "run=2").stdout
    tried = hv("priority", "90", "--label", "run=2", "--dry-run")
    assert tried.stdout.startswith(
        "Dry run, nothing is changed: 1 deployment would have priority 90."
    )
    assert hv("stop", "--label", "run=2").returncode == 0
    assert hv("wait", "--label", "run=2").returncode == 125
    again = hv("cancel", "--label", "run=2")
    assert (again.returncode, again.stdout) == (0, "Changed 0 deployments.\n")
    assert again.stderr == "hv: All selected deployments have ended.\n"


def test_a_dry_run_counts_all_batches_and_shows_what_would_happen(
    hv: Run, log_in: None, ada: Client
) -> None:
    array = _submit(ada, "many", size=1001, at_once=2, priority=20)
    hv("wait", "many-1", "--until", "running")
    urgent = ada.post("/deployments", name="urgent", image="a:1", cpu=8, ram_mib=64, gpu=2)
    hv("wait", "urgent", "--until", "running")

    lines = hv("priority", "90", "--array", array, "--dry-run").stdout.splitlines()
    changed = hv("priority", "90", "--array", array)

    assert lines[0] == (
        "Dry run, nothing is changed: 1001 deployments would have priority 90."
        " What follows is about the first 1000 of them."
    )
    assert f"  evict urgent ({urgent['id']}, priority 50) from rack-1" in lines[2]
    assert lines[3].startswith("  start many-0 (")
    assert changed.stdout == "Changed 1001 deployments.\n"
    hv("wait", "many-0", "--until", "running")
    ada.post("/deployments/cancel?name=urgent")
    _end(hv, "--array", array, (999, 2))


def test_a_stop_ends_all_that_is_selected(hv: Run, log_in: None, ada: Client) -> None:
    array = _submit(ada, "ends", size=12, at_once=2, labels={"run": "4"})
    hv("wait", "ends-1", "--until", "running")

    tried = hv("stop", "--array", array, "--dry-run")
    answers = json.loads(hv("stop", "--array", array, "--dry-run", "--json").stdout)

    lines = tried.stdout.splitlines()
    assert lines[0].endswith("10 deployments would be cancelled and 2 stopped.")
    assert [line.split("(")[0] for line in lines[2:4]] == [
        "  free what ends-0 ",
        "  free what ends-1 ",
    ]
    assert len(lines) == 5
    assert tried.returncode == 0
    assert {name: len(answer["deployments"]) for name, answer in answers.items()} == {
        "cancel": 10,
        "stop": 2,
    }
    assert ada.get(f"/arrays/{array}")["counts"]["running"] == 2
    _end(hv, "--label", "run=4", (10, 2))
    counts = ada.get(f"/arrays/{array}")["counts"]
    assert (counts["cancelled"], counts["running"], counts["pending"]) == (10, 0, 0)
    _end(hv, "--label", "run=4", (0, 0))


def test_the_limit_of_an_array_changes(hv: Run, log_in: None, ada: Client) -> None:
    array = _submit(ada, "limited", size=3, at_once=1)
    hv("wait", "limited-0", "--until", "running")

    tried = hv("limit", "2", "--array", array, "--dry-run").stdout.splitlines()
    limited = hv("limit", "2", "--array", array)
    lifted = hv("limit", "none", "--array", array)
    missing = hv("limit", "2", "--array", "999999")

    assert tried[0].endswith(f"Array {array} (limited) would run at most 2 elements at once.")
    assert [line.split(" (")[0] for line in tried[2:]] == ["  start limited-1"]
    assert limited.stdout == f"Array {array} (limited) runs at most 2 elements at once.\n"
    assert lifted.stdout == f"Array {array} (limited) runs any number of elements at once.\n"
    assert (missing.returncode, missing.stderr) == (
        1,
        "hv: You can see no array 999999: hv arrays\n",
    )
    assert hv("stop", "--array", array).returncode == 0


def test_named_deployments_are_tried_together(hv: Run, log_in: None, ada: Client) -> None:
    array = _submit(ada, "together", size=6, at_once=2)
    hv("wait", "together-1", "--until", "running")

    tried = hv("stop", "together-0", "together-1", "together-2", "no-such", "--dry-run")

    starts = [line for line in tried.stdout.splitlines() if line.startswith("  start ")]
    assert "2 deployments would be stopped." in tried.stdout
    assert [line.split()[1] for line in starts] == ["together-2", "together-3"]
    assert "hv: together-2: " in tried.stderr
    assert "hv: no-such: You can see no deployment" in tried.stderr
    assert tried.returncode == 1
    _end(hv, "--array", array, (4, 2))


@pytest.mark.parametrize("command", ["stop", "retry", "priority 80 --dry-run", "wait"])
def test_a_selection_of_nothing_is_an_error(hv: Run, log_in: None, command: str) -> None:
    none = hv(*command.split(), "--label", "run=none", "--label", "no")
    missing = hv(*command.split(), "--array", "999999")

    assert (none.returncode, missing.returncode) == (1, 1)
    assert "No deployment matches --label run=none --label no: hv ps --all" in none.stderr
    assert "You can see no array 999999: hv arrays" in missing.stderr
    assert none.stdout + missing.stdout == ""


def test_a_list_of_nothing_is_empty_but_one_of_a_missing_array_is_an_error(
    hv: Run, log_in: None
) -> None:
    none = hv("ps", "--label", "run=none")

    assert (none.returncode, none.stdout) == (0, "No deployment matches --label run=none.\n")
    assert hv("ps", "--array", "999999").returncode == 1
    assert hv("ps", "--label", "run=none", "--json").stdout == "[]\n"


def test_options_change_single_fields_of_a_file(hv: Run, log_in: None) -> None:
    file = """
        image: a:1
        array: {size: 4, at_once: 2}
        env: {EPOCHS: "40", RATE: "0.1"}
        restart_policy: on-failure
    """

    limited = _submitted(hv, file, "--at-once", "1", "--env", "RATE=0.2", "--restart", "0")
    smaller = _submitted(hv, file, "--array", "3")

    assert (limited["array"]["size"], limited["array"]["at_once"]) == (4, 1)
    assert limited["env"].items() >= {"EPOCHS": "40", "RATE": "0.2"}.items()
    assert limited["restart_policy"] == "never"
    assert (smaller["array"]["size"], smaller["array"]["at_once"]) == (3, 2)
    for made in (limited, smaller):
        assert hv("stop", "--array", str(made["array"]["id"])).returncode == 0


def _submitted(hv: Run, file: str, *options: str) -> dict[str, Any]:
    done = hv("submit", "-", *options, "--json", given=file)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def _submit(ada: Client, name: str, *, size: int, at_once: int, **fields: Any) -> str:
    """Submit an array; return its id."""
    array = {"size": size, "at_once": at_once}
    made = ada.post(
        "/deployments", name=name, image="a:1", cpu=1, ram_mib=64, array=array, **fields
    )
    return str(made["array"]["id"])


def _end(hv: Run, option: str, value: str, counts: tuple[int, int]) -> None:
    done = hv("stop", option, value)
    assert done.stdout == "Cancelled {} and stopped {} deployments.\n".format(*counts), done.stderr
    assert done.returncode == 0
