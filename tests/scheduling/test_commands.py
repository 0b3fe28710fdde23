"""`manage.py schedule` and `manage.py explain`."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster
from clusters.resources import describe
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from deployments.specs import Spec
from orgs.models import Organization
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor

pytestmark = pytest.mark.django_db


def output_of(*arguments: object) -> str:
    stdout = StringIO()
    call_command(*(str(argument) for argument in arguments), stdout=stdout)
    return stdout.getvalue()


def test_schedule_runs_a_cycle_of_every_organization(
    acme: Organization, globex: Organization, globex_cluster: Cluster, forge: Cluster,
    submit: Submit,
) -> None:  # fmt: skip
    own = submit()
    other = services.submit(
        created_by=globex.memberships.get().user, organization=globex,
        spec=Spec(name="other", image="x", cpu_milli=1, ram_mib=1),
    )  # fmt: skip

    output = output_of("schedule")

    for deployment in (own, other):
        deployment.refresh_from_db()
        assert deployment.status == Status.STARTING
    assert f"Acme ({acme.pk})" in output
    assert output.count("1 ready: 1 placed, 0 left pending, 0 evicted, 0 moved") == 2
    triggers = SchedulingCycle.objects.values_list("trigger", flat=True)
    assert list(triggers) == ["manual", "manual"]


def test_schedule_can_run_for_one_organization(
    acme: Organization, globex: Organization, forge: Cluster
) -> None:
    output = output_of("schedule", "--organization", acme.pk)

    assert "Acme" in output
    assert "Globex" not in output
    assert [cycle.organization for cycle in SchedulingCycle.objects.all()] == [acme]


def test_an_organization_may_be_given_by_its_name(acme: Organization, forge: Cluster) -> None:
    assert "Acme" in output_of("schedule", "--organization", "Acme")


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_schedule_refuses_an_organization_that_does_not_exist(more: list[str]) -> None:
    with pytest.raises(CommandError, match="There is no organization 999999"):
        output_of("schedule", "--organization", 999999, *more)


def test_a_dry_run_prints_the_plan_in_sentences_and_changes_nothing(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    output_of("schedule")
    preemptor, waiting = submit(cpu_milli=8000, priority=90), submit(priority=5)
    revisions = list(Deployment.objects.values_list("pk", "revision"))

    output = output_of("schedule", "--dry-run")

    assert (
        f"Acme ({acme.pk}): 1 would start, 1 would be evicted, 0 would move, 1 would wait."
        in output
    )
    on, forced = f"forge ({forge.pk})", f"job ({preemptor.pk})"
    assert f"evict   job ({victim.pk}), priority 10, from {on}, for {forced}\n" in output
    assert f"start   {forced}, priority 90, on {on}\n" in output
    assert f"wait    job ({waiting.pk}), priority 5\n" in output
    assert list(Deployment.objects.values_list("pk", "revision")) == revisions
    assert SchedulingCycle.objects.count() == 1


def test_a_dry_run_counts_the_waiting_deployments_that_it_does_not_list(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=8000, priority=90)
    output_of("schedule")
    for _ in range(30):
        submit()

    output = output_of("schedule", "--dry-run")

    assert output.count("  wait  ") == 10
    assert "and 20 more wait: 20 no_free_capacity" in output


def test_a_dry_run_prints_the_same_plan_as_json(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    output_of("schedule")
    preemptor, waiting = submit(cpu_milli=8000, priority=90), submit(priority=5)

    (plan,) = json.loads(output_of("schedule", "--dry-run", "--json"))

    assert (plan["organization"], plan["name"]) == (acme.pk, "Acme")
    assert [(e["deployment"], e["for"]) for e in plan["evictions"]] == [(victim.pk, preemptor.pk)]
    assert [p["deployment"] for p in plan["placements"]] == [preemptor.pk]
    assert [(h["deployment"], h["code"]) for h in plan["wait_reasons"]] == [
        (waiting.pk, "no_free_capacity")
    ]
    assert plan["clusters"] == {str(forge.pk): "forge"}
    assert set(plan["deployments"]) == {str(d.pk) for d in (victim, preemptor, waiting)}


def test_a_cycles_counts_are_printed_as_json(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit()

    (row,) = json.loads(output_of("schedule", "--json"))

    cycle = SchedulingCycle.objects.get()
    assert row == {
        "organization": acme.pk, "name": "Acme", "cycle": cycle.pk, "ready": 1, "placed": 1,
        "left_pending": 0, "evicted": 0, "moved": 0,
    }  # fmt: skip


def test_explain_prints_the_same_json_as_the_api(
    client_for: ClientFor, alice: User, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=8000, priority=90)
    output_of("schedule")
    waiting = submit(name="training")

    printed = json.loads(output_of("explain", "training", "--json"))

    assert printed == client_for(alice).get(f"/deployments/{waiting.pk}/explain").json()


def test_an_ambiguous_name_lists_the_deployments(forge: Cluster, submit: Submit) -> None:
    first, second = submit(name="training"), submit(name="training")

    with pytest.raises(CommandError, match=r"(?s)2 deployments are named training.*id:") as refused:
        output_of("explain", "training")

    for deployment in (first, second):
        assert f"{deployment.pk}  training (Acme, pending)" in str(refused.value)


def test_a_name_of_digits_is_found_when_no_id_is_meant(forge: Cluster, submit: Submit) -> None:
    deployment = submit(name="987654321")

    assert f"deployment {deployment.pk})" in output_of("explain", "987654321")


def test_an_unknown_name_lists_similar_names(forge: Cluster, submit: Submit) -> None:
    submit(name="other")
    close = submit(name="training-2")

    with pytest.raises(CommandError) as refused:
        output_of("explain", "training")

    assert str(refused.value) == (
        "There is no deployment training. Existing deployments:\n"
        f"  {close.pk}  training-2 (Acme, pending)"
    )


def test_explain_prints_what_a_pending_deployment_waits_for(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=8000, priority=90)
    output_of("schedule")
    waiting = submit(cpu_milli=500)

    output = output_of("explain", waiting.pk)

    assert f"job (deployment {waiting.pk}): {describe(500, 1024, 0)}, priority 50" in output
    assert "pending since" in output
    assert "1 of 1 in the queue" in output
    assert "no_free_capacity: " in output
    assert f"cluster {forge.pk}: forge" in output


def test_explain_prints_when_it_will_probably_start(
    acme: Organization, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING, name="long", cpu_milli=8000, priority=90, max_runtime_s=7200)
    output = output_of("explain", submit(cpu_milli=2000).pk)
    assert "Probably starts in about 2 h (" in output
    assert "on forge, when long (" in output


def test_explain_and_the_page_say_until_when_a_deployment_has_its_turn(
    console: Client, bring: Bring, submit: Submit, endless_turns: None
) -> None:
    bring(Status.RUNNING, cpu_milli=8000)
    waiting = submit(cpu_milli=500)
    Deployment.objects.filter(pk=waiting.pk).update(queued_at=timezone.now() - timedelta(hours=1))

    page = console.get(reverse("admin:deployments_deployment_change", args=[waiting.pk]))

    assert "\nIt is its turn, until " in output_of("explain", waiting.pk)
    assert "It is its turn, until " in page.content.decode()


def test_explain_prints_why_a_running_deployment_is_on_its_cluster(bring: Bring) -> None:
    output = output_of("explain", bring(Status.RUNNING).pk)

    assert "running since" in output
    assert "running: as the test wants it" in output


def test_explain_refuses_an_unknown_deployment() -> None:
    with pytest.raises(CommandError, match="There is no deployment 999999"):
        output_of("explain", 999999)
