import csv
import json
from dataclasses import asdict
from io import StringIO
from itertools import combinations, islice
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from benchmarks.cells import window_starts
from benchmarks.suites import SUITES
from scheduling.planner.policy import Policy

HEAD = "submit_s,duration_s,cpu_milli,memory_mib,gpu,priority,tenant"
SMALL = ("--windows=1", "--jobs=20", "--load=1.0", "--gpus=8", "--processes=1")


def bench(*arguments: str) -> str:
    out = StringIO()
    call_command("bench", "over_time", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Return a trace of 80 jobs of 8 GPU, of which one is submitted each minute."""
    path = tmp_path / "trace.csv"
    rows = (f"{60 * n},{100 + n},8000,8192,8,{n % 2},ml" for n in range(80))
    path.write_text("\n".join([HEAD, *rows]))
    return path


@pytest.mark.parametrize("number", [1, 3, 9])
@pytest.mark.parametrize("size", [30, 100, 250])
def test_no_two_windows_share_a_job(size: int, number: int) -> None:
    usual = window_starts(1_000, size, number, held_out=False)
    held_out = window_starts(1_000, size, number, held_out=True)
    assert len(usual) == len(held_out) == min(number, 1_000 // size // 2)
    assert all(abs(a - b) >= size for a, b in combinations([*usual, *held_out], 2))
    assert all(0 <= start <= 1_000 - size for start in [*usual, *held_out])


def test_windows_are_spread_over_the_trace() -> None:
    assert window_starts(4_400, 100, 4, held_out=False) == [0, 1_000, 2_200, 3_200]


def test_every_policy_replays_every_cell() -> None:
    out = bench(*SMALL, "--variant=fifo:order=fifo,starvation_seconds=60", "--cells")
    assert "4 cells: 2 windows of 20 jobs" in out
    for policy in ("defaults", "kube", "kube3", "strict", "no-reservations", "fifo"):
        assert f"generated, heavy tails, 1, 1.00, even, {policy}" in out
    heading = next(line for line in out.splitlines() if line.startswith("geometric mean"))
    assert heading.split()[-10:] == [
        "defaults", "kube", "kube3", "kube-doubling", "strict", "no-reservations",
        "runtimes-known", "checkpoints", "kube-checkpoints", "fifo",
    ]  # fmt: skip


def test_the_suite_of_thresholds_changes_one_at_a_time(tmp_path: Path) -> None:
    plot = tmp_path / "frontier.svg"
    out = bench(*SMALL, "--suite=thresholds", "--only=budget", f"--svg={plot}")
    heading = next(line for line in out.splitlines() if line.startswith("geometric mean"))
    assert heading.split()[-4:] == ["defaults", "budget-1", "budget-5", "budget-10"]
    assert ">load 1.00: budget-10<" in plot.read_text()
    for setting in islice(SUITES["thresholds"](), 1, None):
        changed = asdict(setting.terms.policy).items() - asdict(Policy()).items()
        assert len(changed) == 1


def test_the_figures_of_a_cell_are_known(trace: Path, tmp_path: Path) -> None:
    """Four jobs of the same level, of 100 to 103 s, come every 60 s to one cluster."""
    file = tmp_path / "cells.csv"
    bench(
        f"--trace={trace}", "--windows=1", "--jobs=4", "--direct", "--cluster=cpu=8,ram=8Gi,gpu=8",
        "--levels=one", "--only=strict", "--processes=1", "--longest=1", f"--csv={file}",
    )  # fmt: skip
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["policy"] for row in rows] == ["defaults", "strict"]
    for row in rows:
        assert (row["from"], row["load"]) == ("1", "as submitted")
        assert float(row["mean wait, s"]) == pytest.approx((0 + 40 + 81 + 123) / 4)
        assert float(row["GPU utilisation, %"]) == 100


def test_the_jobs_that_fit_no_cluster_are_counted(trace: Path) -> None:
    out = bench(f"--trace={trace}", "--only=strict", *SMALL, "--gpus=4", "--by=load", "--by=levels")
    assert "\n20 jobs are larger than any cluster and were left out." in out
    assert "load 1.00" in out
    assert "levels trace  levels even" in out


def test_a_stopped_run_continues_from_its_results(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    first = bench(*SMALL, "--only=kube", f"--results={results}")
    assert "20/20" in first
    report = first[first.index("\n4 cells") :]
    assert bench(*SMALL, "--only=kube", f"--results={results}") == report
    whole = results.read_text().splitlines()
    results.write_text("\n".join(whole[:-1]) + "\n" + whole[-1][:40])
    assert "5/5" in bench(*SMALL, "--only=kube", "--only=strict", f"--results={results}")
    assert len(bench(*SMALL, "--only=kube", f"--results={results}")) == len(report)


def test_results_of_other_source_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results.jsonl"
    bench(*SMALL, "--only=defaults", f"--results={results}")
    monkeypatch.setattr("benchmarks.stored_replays._source", lambda: "another digest")
    assert "4/4" in bench(*SMALL, "--only=defaults", f"--results={results}")
    assert len({json.loads(line)["key"] for line in results.read_text().splitlines()}) == 8


def test_two_processes_find_what_one_finds() -> None:
    one, two = (
        bench(*SMALL[:-1], "--levels=even", "--only=kube", f"--processes={number}")
        for number in (1, 2)
    )
    tables = [text[text.index("divided by") :] for text in (one, two)]
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--direct"], "--direct needs the clusters"),
        (["--base=fifo"], "--base: fifo is not one of defaults, kube"),
        (["--variant=kube:order=fifo"], "the name kube is taken"),
        (["--variant=fifo"], "expected the form NAME:FIELD=VALUE"),
        (["--variant=x:suspension_seconds=5"], "expected NAME=VALUE with one of order"),
        (["--variant=x:order=best"], "policy.order: 'best' is not one of most, fifo"),
        (["--load=0"], "is not a number above 0"),
        (["--trace=TRACE", "--jobs=81"], "trace.csv: has 80 jobs, and the windows need 81"),
        (["--trace=TRACE", "--jobs=41", "--held-out"], "and the windows need 82"),
        (["--trace=TRACE", "--jobs=1"], "use more --jobs, or --direct"),
    ],
)
def test_wrong_options_are_refused_with_the_remedy(
    arguments: list[str], complaint: str, trace: Path
) -> None:
    with pytest.raises(CommandError, match=complaint):
        bench(*(text.replace("TRACE", str(trace)) for text in arguments))
