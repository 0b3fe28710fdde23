"""The alarms of the dashboard and of `status`."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from clusters import nodes
from clusters import services as cluster_services
from clusters.models import Cluster, Connection
from clusters.wakeups import ENGINES
from deployments import services, waiting
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.console.links import link_of
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import Pulse, Sample, SchedulingCycle
from scheduling.monitoring import health, heartbeats
from scheduling.monitoring.alarm import Alarm
from scheduling.monitoring.alarms import Hour, alarms
from scheduling.monitoring.minutes import take_sample
from tests.fixtures.deployments import Bring, Submit

CALM = Hour(suspended=0, failed=0, ended=0)


@pytest.fixture
def alive(db: None) -> None:
    heartbeats.record(heartbeats.BEAT)
    heartbeats.record_worker(heartbeats.PLANNING, "celery@here")
    heartbeats.record_worker(heartbeats.BACKGROUND, "background@here")
    heartbeats.record_worker(ENGINES, "engines@here")


def raised(hour: Hour = CALM, later: timedelta = timedelta(0)) -> list[Alarm]:
    now = timezone.now() + later
    take_sample(now)
    last = Sample.objects.order_by("-time").first()
    return alarms(now, health.read(now, last), last, hour)


def titles(hour: Hour = CALM) -> list[str]:
    return [alarm.title for alarm in raised(hour)]


def ago(**span: float) -> datetime:
    return timezone.now() - timedelta(**span)


def cycled(organization: Organization, time: datetime | None = None) -> None:
    SchedulingCycle.objects.create(
        organization=organization, trigger="interval", started_at=time or timezone.now(),
        snapshot_us=1, plan_us=1, apply_us=1, ready=1, placed=0, evicted=0, moved=0, left_pending=1,
    )  # fmt: skip


def test_a_healthy_platform_has_no_alarms(alive: None, bring: Bring) -> None:
    bring(Status.RUNNING)

    assert titles() == []


def last_seen(name: str, **span: float) -> None:
    Pulse.objects.filter(name__startswith=name).update(time=ago(**span))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        (heartbeats.BEAT, "Beat: last seen"),
        (heartbeats.PLANNING, "Worker: last seen"),
        (heartbeats.BACKGROUND, "Background worker: last seen"),
        (ENGINES, "Engine worker: last seen"),
    ],
)
def test_each_dead_process_has_its_own_alarm(alive: None, name: str, title: str) -> None:
    last_seen(name, minutes=2)

    (alarm,) = raised()

    assert alarm.title.startswith(title)
    assert alarm.level == "critical"


def test_without_a_broker_the_workers_raise_no_alarm(alive: None, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    for name in (heartbeats.PLANNING, heartbeats.BACKGROUND, ENGINES):
        last_seen(name, minutes=2)

    (alarm,) = raised()

    assert alarm.title == "Broker: does not answer"


def test_processes_that_were_never_seen_raise_alarms(db: None) -> None:
    assert [title.split(":")[0] for title in titles()] == [
        "Beat", "Worker", "Background worker", "Engine worker"
    ]  # fmt: skip


def test_one_of_several_workers_is_enough(alive: None) -> None:
    heartbeats.record_worker(ENGINES, "engines@gone", timezone.now() - timedelta(minutes=5))

    assert titles() == []


def test_old_samples_raise_an_alarm(alive: None, forge: Cluster) -> None:
    now = timezone.now()
    take_sample(now - timedelta(minutes=9))
    last = Sample.objects.order_by("-time").first()

    (alarm,) = alarms(now, health.read(now, last), last, CALM)

    assert alarm.title.startswith("Samples: the latest is from")


def test_the_alarm_of_an_engine_that_does_not_answer_shows_its_error(
    alive: None, forge: Cluster
) -> None:
    Connection.objects.create(
        cluster=forge, endpoint="tcp://gone", engine_id="gone", probed_at=timezone.now(),
        lost_contact_at=ago(minutes=1), last_error="Connection refused.",
    )  # fmt: skip

    (alarm,) = raised()

    assert alarm.title == "The engine of forge does not answer"
    assert "Connection refused." in alarm.detail
    assert link_of(alarm) == (f"/admin/cluster/{forge.pk}/", "Cluster")


def test_an_unclaimed_engine_and_unknown_containers_raise_alarms_with_the_remedy(
    alive: None, forge: Cluster
) -> None:
    Connection.objects.create(
        cluster=forge, endpoint="tcp://shared", engine_id="shared", probed_at=timezone.now(),
        lost_contact_at=ago(minutes=1), last_error="Restored.", unclaimed=True,
        unknown_containers=[{"uid": "1", "name": "a", "runs": True}],
    )  # fmt: skip

    engine, containers = raised()

    assert engine.title == "The engine of forge is not this installation's"
    assert containers.title == "1 unknown container is on forge"
    assert f"`manage.py claim_engine {forge.pk}`" in containers.detail


@pytest.mark.parametrize("cycle_at", [None, timedelta(hours=1)])
def test_missing_cycles_raise_an_alarm_with_the_organizations(
    alive: None, submit: Submit, forge: Cluster, cycle_at: timedelta | None
) -> None:
    submit()
    Deployment.objects.update(queued_at=ago(minutes=10))
    if cycle_at:
        cycled(forge.organization, timezone.now() - cycle_at)

    (alarm,) = raised()

    assert alarm.title == "No scheduling cycle although deployments are ready"
    assert alarm.detail.startswith("In Acme, for over 120 seconds.")


def test_an_idle_platform_misses_no_cycles(alive: None, submit: Submit, forge: Cluster) -> None:
    services.hold(submit(), actor="alice")
    Deployment.objects.update(queued_at=ago(minutes=10))
    submit()

    assert titles() == []


def test_one_organization_without_cycles_raises_an_alarm_although_others_have_them(
    alive: None, submit: Submit, forge: Cluster, globex: Organization
) -> None:
    submit()
    Deployment.objects.update(queued_at=ago(minutes=10))
    cycled(globex)

    assert titles() == ["No scheduling cycle although deployments are ready"]


def test_an_inversion_links_to_the_deployment(
    alive: None, acme: object, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING, gpu=2, priority=20)
    urgent = submit(gpu=1, priority=90)
    raised()

    later = raised(later=timedelta(minutes=1))

    alarm = next(alarm for alarm in later if "lower priorities" in alarm.title)

    assert alarm.title == "1 deployment waits for lower priorities"
    assert link_of(alarm) == (f"/admin/deployments/deployment/{urgent.pk}/change/", "Show")


def drain(forge: Cluster) -> None:
    cluster_services.drain(forge, actor="alice")


def test_a_long_drain_raises_an_alarm(alive: None, bring: Bring, forge: Cluster) -> None:
    bring(Status.RUNNING)
    drain(forge)
    before = titles()
    Event.objects.filter(kind="draining").update(time=ago(hours=1))

    assert before == []
    assert titles()[0].startswith("forge has been draining since")


def test_a_long_drain_of_a_node_raises_an_alarm(
    alive: None, rack: Cluster, submit: Submit, acme: Organization
) -> None:
    deployment = submit(gpu=1)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    deployment.refresh_from_db()
    assert deployment.node is not None
    nodes.drain(deployment.node, actor="alice")
    nodes.drain(rack.nodes.exclude(pk=deployment.node.pk).get(), actor="alice")
    assert titles() == []

    Event.objects.filter(kind="node_draining").update(time=ago(hours=1))

    (title,) = titles()
    assert title.startswith(f"{deployment.node.name} of rack has been draining since")


def test_a_drain_that_is_done_is_no_alarm(alive: None, forge: Cluster) -> None:
    drain(forge)
    Event.objects.filter(kind="draining").update(time=ago(hours=1))

    assert titles() == []


def never_started(bring: Bring) -> None:
    bring(Status.STARTING)
    Run.objects.update(placed_at=ago(minutes=11))


def does_not_stop(bring: Bring) -> None:
    bring(Status.STOPPING)
    Run.objects.update(released_at=ago(minutes=11))


@pytest.mark.parametrize(
    ("happens", "title"),
    [
        (never_started, "1 container has not started in time"),
        (does_not_stop, "1 container does not stop"),
    ],
)
def test_a_container_that_hangs_raises_an_alarm(
    alive: None, bring: Bring, happens: Callable[[Bring], None], title: str
) -> None:
    happens(bring)

    assert titles() == [title]


def test_a_starving_deployment_raises_an_alarm(alive: None, bring: Bring, submit: Submit) -> None:
    bring(Status.RUNNING, gpu=2, priority=90)
    patient = submit(gpu=1, priority=50)
    Deployment.objects.filter(pk=patient.pk).update(queued_at=ago(hours=1))
    cycled(patient.organization)

    assert titles() == ["1 deployment has waited too long"]


def test_the_alarm_for_long_waits_names_the_three_longest_and_leads_to_all_of_them(
    alive: None, bring: Bring, submit: Submit, console: Client
) -> None:
    bring(Status.RUNNING, gpu=2, priority=90)
    for hours in (1, 4, 2, 3):
        patient = submit(name=f"waits-{hours}-h", gpu=1, priority=50)
        Deployment.objects.filter(pk=patient.pk).update(
            queued_at=ago(hours=hours), status_code="no_free_capacity"
        )
    submit(name="new", gpu=1, priority=50)
    evicted = submit(name="ran-meanwhile", gpu=1, priority=50)
    Deployment.objects.filter(pk=evicted.pk).update(
        queued_at=ago(hours=9), ready_after=ago(minutes=1)
    )
    cycled(patient.organization)

    (alarm,) = (each for each in raised() if "waited too long" in each.title)
    href, _ = link_of(alarm) or ("", "")
    page = console.get(href).content.decode()

    assert alarm.detail.startswith(
        "The longest: waits-4-h of Acme for 4 h (no free capacity), waits-3-h of Acme for 3 h"
        " (no free capacity), waits-2-h of Acme for 2 h (no free capacity). "
    )
    assert "SCHEDULER_" not in alarm.detail
    shown = [f"waits-{hours}-h" for hours in (4, 3, 2, 1)]
    assert [page.index(f">{name}<") for name in shown] == sorted(
        page.index(f">{n}<") for n in shown
    )
    assert ">new<" not in page
    assert ">ran-meanwhile<" not in page


def test_the_alarm_for_long_waits_says_how_much_reservations_kept_idle(
    alive: None, bring: Bring, submit: Submit, forge: Cluster
) -> None:
    bring(Status.RUNNING, gpu=2, priority=90)
    patient = submit(gpu=1, priority=50)
    Deployment.objects.filter(pk=patient.pk).update(queued_at=ago(hours=1))
    cycled(patient.organization)
    take_sample()
    Sample.objects.update(idle_gpu=F("gpu") * 0.125)

    (alarm,) = (each for each in raised() if "waited too long" in each.title)

    assert "kept 12.5% of the capacity idle over the last 24 hours" in alarm.detail


def test_a_forgotten_hold_is_only_an_information(
    alive: None, submit: Submit, forge: Cluster
) -> None:
    services.hold(submit(), actor="alice")
    Deployment.objects.update(queued_at=ago(days=2))

    (alarm,) = raised()

    assert alarm.level == "info"
    assert link_of(alarm) == ("/admin/queue/?group=held", "Queue")


def test_a_deployment_that_can_never_start_raises_an_alarm(
    alive: None, forge: Cluster, acme: Organization, submit: Submit
) -> None:
    cycled(acme)
    first = submit()
    services.hold(first, actor="alice")
    submit(depends_on=(Wait(first.pk),))
    assert titles() == []
    services.cancel(Deployment.objects.get(pk=first.pk), actor="bob")

    waiting.refresh(timezone.now(), actor="system:test")

    assert titles() == ["1 deployment can never start"]


def test_suspended_preemption_and_many_failures_raise_alarms(alive: None) -> None:
    assert titles(Hour(2, 6, 10)) == [
        "Preemption was suspended for 2 deployments",
        "6 of the 10 runs that ended in the last hour failed",
    ]
    assert titles(Hour(0, 4, 4)) == []
    assert titles(Hour(0, 6, 100)) == []


def test_the_worst_comes_first(alive: None, submit: Submit, forge: Cluster) -> None:
    services.hold(submit(), actor="alice")
    Deployment.objects.update(queued_at=ago(days=2))
    Pulse.objects.filter(name=heartbeats.BEAT).update(time=ago(minutes=2))

    assert [alarm.level for alarm in raised(Hour(1, 0, 0))] == ["critical", "warning", "info"]


def test_every_link_opens(
    console: Client, bring: Bring, submit: Submit, forge: Cluster, settings: object
) -> None:
    never_started(bring)
    drain(forge)
    Event.objects.filter(kind="draining").update(time=ago(hours=1))
    services.hold(submit(), actor="alice")
    Deployment.objects.update(queued_at=ago(days=2))

    links = {link[0] for alarm in raised(Hour(1, 6, 6)) if (link := link_of(alarm))}

    assert len(links) >= 5
    assert {console.get(link, follow=True).status_code for link in links} == {200}


def test_more_alarms_take_no_more_queries(alive: None, bring: Bring, acme: object) -> None:
    counts = []
    # Within one minute: the first call in a minute takes a sample.
    with time_machine.travel(timezone.now(), tick=False):
        for _ in range(2):
            for _ in range(5):
                bring(Status.RUNNING, cpu_milli=10, ram_mib=1)
            raised()
            with CaptureQueriesContext(connection) as queries:
                raised()
            counts.append(len(queries))

    assert counts[0] == counts[1]
