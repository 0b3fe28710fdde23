"""`manage.py schedule` and `manage.py explain`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from clusters.models import Cluster
from clusters.resources import describe
from deployments import services
from deployments.models import Deployment, Status
from deployments.specs import Spec
from orgs.models import Organization
from scheduling.models import SchedulingCycle
from tests.deployments.conftest import Bring, Submit

pytestmark = pytest.mark.django_db


def told(*arguments: object) -> str:
    stdout = StringIO()
    call_command(*(str(argument) for argument in arguments), stdout=stdout)
    return stdout.getvalue()


def test_schedule_runs_a_cycle_of_every_organization(
    acme: Organization, globex: Organization, globex_cluster: Cluster, forge: Cluster,
    submit: Submit,
) -> None:  # fmt: skip
    ours = submit()
    theirs = services.submit(
        created_by=globex.memberships.get().user, organization=globex,
        spec=Spec(name="theirs", image="x", cpu_milli=1, ram_mib=1),
    )  # fmt: skip

    output = told("schedule")

    for deployment in (ours, theirs):
        deployment.refresh_from_db()
        assert deployment.status == Status.STARTING
    assert f"Acme ({acme.pk})" in output
    assert output.count("1 ready: 1 placed, 0 left pending, 0 evicted, 0 moved") == 2
    triggers = SchedulingCycle.objects.values_list("trigger", flat=True)
    assert list(triggers) == ["manual", "manual"]


def test_schedule_takes_one_organization(
    acme: Organization, globex: Organization, forge: Cluster
) -> None:
    output = told("schedule", "--organization", acme.pk)

    assert "Acme" in output
    assert "Globex" not in output
    assert [cycle.organization for cycle in SchedulingCycle.objects.all()] == [acme]


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_schedule_refuses_an_organization_that_does_not_exist(more: list[str]) -> None:
    with pytest.raises(CommandError, match="There is no organization 999999"):
        told("schedule", "--organization", 999999, *more)


def test_a_dry_run_prints_the_plan_as_a_table_and_changes_nothing(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    told("schedule")
    preemptor, waiting = submit(cpu_milli=8000, priority=90), submit(priority=5)
    revisions = list(Deployment.objects.values_list("pk", "revision"))

    lines = told("schedule", "--dry-run").splitlines()

    assert lines[0] == f"Acme ({acme.pk})"
    assert lines[1].split() == ["decision", "deployment", "cluster", "for", "reason"]
    decisions = {tuple(line.split()[:4]) for line in lines[2:]}
    assert decisions == {
        ("evict", str(victim.pk), str(forge.pk), str(preemptor.pk)),
        ("place", str(preemptor.pk), str(forge.pk), "-"),
        ("hold", str(waiting.pk), "-", "-"),
    }
    assert list(Deployment.objects.values_list("pk", "revision")) == revisions
    assert SchedulingCycle.objects.count() == 1


def test_explain_tells_what_a_pending_one_waits_for(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=8000, priority=90)
    told("schedule")
    waiting = submit(cpu_milli=500)

    output = told("explain", waiting.pk)

    assert f"job (deployment {waiting.pk}): {describe(500, 1024, 0)}, priority 50" in output
    assert "pending since" in output
    assert "1 of 1 in the queue" in output
    assert "no_room: " in output
    assert f"cluster {forge.pk}: forge" in output


def test_explain_tells_why_a_running_one_is_where_it_is(bring: Bring) -> None:
    output = told("explain", bring(Status.RUNNING).pk)

    assert "running since" in output
    assert "running: as the test wants it" in output


def test_explain_refuses_what_does_not_exist() -> None:
    with pytest.raises(CommandError, match="There is no deployment 999999"):
        told("explain", 999999)
