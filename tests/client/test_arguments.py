"""What `hv` refuses by itself, without a service."""

import io
from pathlib import Path

import pytest
from hypervisor_client.cli import main
from hypervisor_client.cli.submission import outcome


@pytest.fixture(autouse=True)
def _no_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HV_URL", "HV_TOKEN", "HV_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HV_CONFIG", str(tmp_path / "contexts.json"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("cancel", "Name deployments, or select them with --label or --array."),
        ("priority 80", "Name deployments, or select them with --label or --array."),
        ("retry", "Select deployments with --label or --array."),
        ("wait 7 --label run=1", "not both"),
        ("stop 7 --array 3", "not both"),
        ("priority 7 80 --array 3", "not both"),
        ("wait --array 3 --until running", "--until is for deployments that are named"),
        ("submit --image a:1 --at-once 2", "give its size with --array"),
        ("submit --image a:1 --label team", "write NAME=VALUE"),
        ("context use", "needs the context's name"),
        ("context remove", "needs the context's name"),
        ("token revoke ci", "'ci' is not the id of a token: hv token"),
        ("webhooks delete x", "'x' is not the id of a webhook: hv webhooks"),
    ],
)
def test_an_unclear_command_is_refused(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("submit --image a:1 --array 0", "argument --array: '0' is not a whole number from 1"),
        ("submit --image a:1 --gpu -1", "argument --gpu: '-1' is not a whole number from 0"),
        ("resize rack-1 --cpu -1", "argument --cpu: '-1' is not a positive amount"),
        ("resize rack-1 --ram 0.0", "argument --ram: '0.0' is not a positive amount"),
        ("wait 7 --timeout -1", "argument --timeout: '-1' is not a number of seconds from 0"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_option(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command.split())

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("show", ""),
        ("cancel", ""),
        ("events", "", "-f"),
        ("priority", "", "80"),
        ("drain", ""),
        ("drain", "7", "--node", ""),
        ("submit", "--image", "a:1", "--cluster", ""),
    ],
)
def test_an_empty_name_is_refused(
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HV_URL", "http://127.0.0.1:9")

    assert main(words) == 1
    assert "name is empty: give a name or an id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "given", "said"),
    [
        ("--user ada", "", "give the password with --password-stdin"),
        ("--user ada", "secret\n", "give the password with --password-stdin"),
        ("", "", "user name with --user"),
        ("--password-stdin", "secret\n", "--password-stdin needs the user name"),
        ("--user ada --password-stdin", "", "The standard input has no password."),
        ("--token-stdin", "", "The standard input has no token."),
    ],
)
def test_a_log_in_without_a_terminal_says_how_to_pass_what_it_needs(
    options: str,
    given: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    monkeypatch.setattr("os.open", _no_terminal)

    assert main(["login", "http://127.0.0.1:9", *options.split()]) == 1
    assert said in capsys.readouterr().err


def _no_terminal(*_: object) -> int:
    raise OSError


def test_a_token_without_an_address_is_not_replaced_by_another_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HV_TOKEN", "hv_x")

    assert main(["ps"]) == 1
    assert "HV_TOKEN is set, but HV_URL is not" in capsys.readouterr().err


def test_the_dry_run_of_an_array_counts_what_it_does() -> None:
    array = {
        "size": 6, "at_once": 5, "starting": 4, "waiting": 2, "evicted": 12, "moved": 1,
        "waits": [{"count": 1, "reason": "Short of 1 CPU."}, {"count": 1, "reason": "Its limit."}],
    }  # fmt: skip
    evicted = [
        {"name": f"low-{n}", "deployment": n, "lost_s": 4, "reason": "Preempted."}
        for n in range(12)
    ]

    lines = outcome({
        "outcome": "preempt", "reason": "4 of 6 elements start.", "array": array, "clusters": [],
        "evictions": evicted, "moves": evicted[:1],
    }).splitlines()  # fmt: skip

    assert lines[:5] == [
        "preempt: 4 of 6 elements start.",
        "6 elements, at most 5 at once: 4 would start, 2 would wait.",
        "  1 waits: Short of 1 CPU.",
        "  1 waits: Its limit.",
        "They would evict 12 and move 1 deployment:",
    ]
    assert lines[14:] == [
        "  evicts low-9 (9), which loses 4s of work: Preempted.",
        "  … and 3 more",
    ]
