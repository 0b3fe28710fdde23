"""The alerts, their tests and the documents agree with each other and with the metrics."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import connection

from clusters.models import Cluster
from deployments.wait_codes import NEVER
from hypervisor.metrics import page
from hypervisor.standalone.bootstrap import ROOT
from scheduling.monitoring import heartbeats, totals
from scheduling.monitoring.minutes import take_sample
from tests.fixtures.deployments import Submit
from tests.support.prometheus import METRIC, MONITORING, promtool

CASES = Path(__file__).parent / "alerts.yml"
OPERATING = (ROOT / "docs" / "operating.md").read_text()


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def first_column(section: str) -> str:
    """Return the first column of the section's tables."""
    text = OPERATING.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|"))


@pytest.mark.django_db
def test_the_page_lists_exactly_the_metrics(forge: Cluster, submit: Submit) -> None:
    submit()
    heartbeats.record(heartbeats.BEAT)
    take_sample()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM scheduling_counteduntil")
    totals.count()

    found = set(re.findall(r"^# TYPE (\w+)", page._read().decode(), re.M))

    assert found == set(METRIC.findall(first_column("Metrics")))


def test_every_alert_is_explained_and_has_a_case_in_which_it_fires() -> None:
    names = [rule["alert"] for rule in rules()]
    cases = [
        case["alertname"]
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    ]

    assert names == re.findall(r"Hypervisor\w+", first_column("Alerts"))
    assert sorted(cases) == sorted(names)


def test_each_alert_fires_in_its_case() -> None:
    promtool("test", "rules", CASES)


def test_promtool_finds_no_fault_in_the_rules() -> None:
    promtool("check", "rules", "alerts.yml")


def test_the_alert_of_what_never_starts_has_the_codes_of_the_console() -> None:
    (rule,) = [rule for rule in rules() if rule["alert"] == "HypervisorNeverStarts"]

    assert set(re.findall(r"\w+", rule["expr"].split('"')[1])) == set(NEVER)
