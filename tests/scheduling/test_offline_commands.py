"""`manage.py plan` and `manage.py simulate`: they need files and no database."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

SNAPSHOT = {
    "now": 1_000,
    "policy": {},
    "clusters": [{"id": 1, "cpu_milli": 8_000, "ram_mib": 32_768, "gpu": 1, "state": "active"}],
    "deployments": [
        {"id": 7, "priority": 5, "cpu_milli": 1_000, "ram_mib": 512, "gpu": 1, "queued_at": 900},
        {"id": 3, "priority": 1, "cpu_milli": 1_000, "ram_mib": 512, "gpu": 1, "queued_at": 900,
         "cluster": 1, "started_at": 950},
        {"id": 9, "priority": 1, "cpu_milli": 9_000, "ram_mib": 512, "gpu": 0, "queued_at": 900},
    ],
}  # fmt: skip
TRACE = "submit_s,duration_s,cpu_milli,memory_mib,gpu,priority,tenant\n" + "".join(
    f"{number * 10},100,1000,1024,1,{number % 2},team-{number % 3}\n" for number in range(12)
)


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_a_plan_is_printed_in_the_documented_format(tmp_path: Path) -> None:
    file = tmp_path / "snapshot.json"
    file.write_text(json.dumps(SNAPSHOT))
    plan = json.loads(run("plan", str(file)))
    parts = {"placements", "evictions", "moves", "wait_reasons", "turns", "suspensions"}
    assert set(plan) == parts
    keys = {"deployment", "cluster", "node", "code", "reason"}
    assert [set(row) for row in plan["placements"]] == [keys]
    eviction = plan["evictions"][0]
    assert (eviction["deployment"], eviction["cluster"], eviction["for"]) == (3, 1, 7)
    assert eviction["proved_minimal"] is True
    hold = plan["wait_reasons"][0]
    assert (hold["deployment"], hold["code"]) == (9, "exceeds_capacity")
    assert hold["detail"]["clusters"][0]["missing"] == {"cpu_milli": 1_000}


def test_a_plan_can_be_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(json.dumps(SNAPSHOT)))
    assert json.loads(run("plan", "-"))["placements"][0]["deployment"] == 7


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "Expecting property name"), ('{"now": 1}', "snapshot.clusters: is missing"),
        ('{"now": 1, "now": 2}', "now: This key appears more than once"),
        ('{"now": NaN}', "now: JSON has no NaN"), ('{"now": ' + "1" * 5000 + "}", "now: .*digits"),
        ('{"now": "1"}', "now: expected a whole number"), ("[" * 100_000, "nested"),
        ('{"now": 1.5}', "now: expected a whole number"), (r'{"\ud800": 1}', "surrogate"),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_an_invalid_snapshot_is_refused_with_one_sentence(
    text: str, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "snapshot.json"
    file.write_text(text)
    with pytest.raises(CommandError, match=complaint):
        run("plan", str(file))


def test_a_simulation_compares_policies_and_writes_a_page(tmp_path: Path) -> None:
    trace, page = tmp_path / "trace.csv", tmp_path / "report.html"
    trace.write_text(TRACE)
    out = run(
        "simulate", str(trace), "--cluster", "cpu=4,ram=8Gi,gpu=2", "--policy", "ours",
        "--policy", "fcfs", "--set", "min_run_seconds=30", "--checkpoint-every", "10",
        "--runtimes-known", "--html", str(page),
    )  # fmt: skip
    rows = [line.split() for line in out.splitlines()]
    assert [row[:3] for row in rows if "6/6" in row] == [
        ["ours", "1", "6/6"], ["ours", "0", "6/6"],
        ["fcfs", "1", "6/6"], ["fcfs", "0", "6/6"],
    ]  # fmt: skip
    assert "idle by reservations, %" in out
    html = page.read_text()
    assert html.count("<svg") == 5
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")


def test_kube3_spares_a_job_after_three_evictions_whatever_the_thresholds(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    high = [f"{100 * n},10,1000,1024,1,1,ml" for n in range(1, 7)]
    trace.write_text("\n".join([TRACE.splitlines()[0], "0,1000,1000,1024,1,0,ml", *high]))
    out = run(
        "simulate", str(trace), "--cluster", "cpu=1,ram=1Gi,gpu=1", "--policy", "kube",
        "--policy", "kube3", "--set", "preemption_budget=9", "--set", "backoff_seconds=0",
    )  # fmt: skip
    rows = {row[0]: row[6] for row in map(str.split, out.splitlines()[1:3])}
    assert rows == {"kube": "6", "kube3": "3"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--cluster", "cpu=4"], "expected the form cpu=64,ram=512Gi,gpu=8"),
        (["--cluster", "cpu=4,ram=lots"], "lots"),
        (["--cluster", "cpu=4,ram=8Gi", "--set", "colour=red"], "expected NAME=VALUE"),
        (["--cluster", "cpu=4,ram=8Gi", "--set", "backfill=all"], "policy.backfill"),
        (["--cluster", "cpu=4,ram=8Gi", "--set", "suspension_seconds=5"], "expected NAME=VALUE"),
    ],
)
def test_a_simulation_refuses_an_invalid_trace(
    arguments: list[str], complaint: str, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(TRACE)
    with pytest.raises(CommandError, match=complaint):
        run("simulate", str(trace), *arguments)
