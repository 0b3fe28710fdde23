"""Whole numbers from outside are read the same way everywhere."""

from typing import Any
from urllib.parse import quote

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from clusters.models import Cluster
from deployments.choices import Status
from hypervisor.base.numbers import read_whole, whole
from hypervisor.console.pages.replays import PolicyForm
from hypervisor.ui.forms import CapacityForm, PriorityForm
from scheduling.planner.policy import Policy
from tests.fixtures.deployments import Bring

ODD = ["1_0", "٣", "²", "+1", "1.0", "1e0", "0x1", "", "9" * 19, "9" * 5000]

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("text", [*ODD, " 1", "1 ", "1\n", "--1"], ids=lambda text: text[:20])
def test_other_text_than_plain_digits_is_not_a_number(text: str) -> None:
    assert whole(text) is None
    with pytest.raises(ValueError, match=r"is not a whole number[.]$"):
        read_whole(text)


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("007", 7), ("-5", -5), ("9" * 18, 10**18 - 1)]
)
def test_plain_digits_are_a_number(text: str, number: int) -> None:
    assert whole(text) == read_whole(text) == number


@pytest.mark.parametrize("text", ODD[:6])
@pytest.mark.parametrize(
    "command",
    [
        ["replay"], ["logs", "1", "--tail"], ["demo", "--seed"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_refuses_other_notations(command: list[str], text: str) -> None:
    with pytest.raises(CommandError, match="is not a whole number"):
        call_command(*command, text)


@pytest.mark.parametrize(
    "command",
    [["logs", "1", "--tail=-1"], ["simulate", "t.csv", "--cluster", "cpu=1,ram=1Gi", "--jobs=-1"]],
)
def test_a_command_refuses_a_negative_count(command: list[str]) -> None:
    with pytest.raises(CommandError, match="is less than 0"):
        call_command(*command)


@pytest.mark.parametrize("cluster", ["cpu=1_0,ram=1Gi", "cpu=1,ram=٣Gi", "cpu=1,ram=1Gi,gpu=1_0"])
def test_a_simulation_refuses_other_notations(cluster: str) -> None:
    with pytest.raises(CommandError, match=r"CPU must be|RAM must be|is not a whole number"):
        call_command("simulate", "trace.csv", "--cluster", cluster)


def test_a_cluster_may_have_a_name_that_only_python_reads_as_a_number(forge: Cluster) -> None:
    Cluster.objects.filter(pk=forge.pk).update(name="٣")

    with pytest.raises(CommandError, match="Cluster ٣ has no connection"):
        call_command("disconnect_cluster", "٣")


@pytest.mark.parametrize("text", ODD, ids=lambda text: text[:20])
@pytest.mark.parametrize(
    "address",
    [
        "/admin/?cluster={}", "/admin/queue/?cluster={}", "/admin/queue/?priority={}",
        "/admin/queue/?q={}", "/admin/queue/?organization={}", "/admin/queue/?page={}",
        "/admin/scheduling/schedulingcycle/run-all/?organization={}",
        "/admin/deployments/deployment/{pk}/logs/?run={}&tail={}",
    ],
)  # fmt: skip
def test_no_page_fails_for_other_notations(
    console: Client, bring: Bring, address: str, text: str
) -> None:
    deployment = bring(Status.RUNNING)

    answer = console.get(address.replace("{pk}", str(deployment.pk)).replace("{}", quote(text)))

    assert answer.status_code in (200, 302, 404)


@pytest.mark.parametrize("text", [text for text in ODD if text], ids=lambda text: text[:20])
def test_the_forms_of_the_admin_refuse_other_notations(text: str) -> None:
    def errors(form: Any) -> set[str]:
        return set(form.errors)

    assert errors(PriorityForm({"priority": text})) == {"priority"}
    assert "preemption_budget" in errors(PolicyForm(Policy(), {"preemption_budget": text}))
    amounts = {"cpu": f"{text}x", "ram": f"{text}Gi", "gpu": text}
    assert errors(CapacityForm(amounts)) >= {"cpu", "gpu"}
    assert not errors(CapacityForm({"cpu": "0.5", "ram": "1.5Gi", "gpu": "2"}))
    assert errors(CapacityForm({"cpu": 0.1 + 0.2, "ram": "0.0001Gi", "gpu": "0"})) == {"cpu", "ram"}
