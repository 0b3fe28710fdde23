import random
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Count

from deployments import images
from deployments.choices import ENDED, Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.base import commands
from hypervisor.base.errors import DomainError
from hypervisor.base.numbers import argument
from hypervisor.demo import removal, workshop
from hypervisor.demo.company import TEAMS, found, submit_batch, submit_urgent
from orgs.models import Organization
from scheduling.models import SchedulingCycle

_PATIENCE_SECONDS = 60
_FETCH_SECONDS = 180
_POLL_SECONDS = 0.2


class Command(commands.Command):
    help = "Fill a running service with example organizations, and show a preemption."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--seed", type=argument, default=7, help="seed of the random numbers (default 7)"
        )
        real = parser.add_mutually_exclusive_group()
        real.add_argument(
            "--docker",
            nargs="?",
            const=workshop.usual_endpoint(),
            metavar="SOCKET",
            help="also run containers on this machine's Docker Engine, without asking",
        )
        real.add_argument(
            "--no-docker", action="store_true", help="run no real containers, and do not ask"
        )
        parser.add_argument(
            "--image",
            type=images.argument,
            default=workshop.IMAGE,
            help="image of these containers (default: %(default)s)",
        )
        again = parser.add_mutually_exclusive_group()
        again.add_argument(
            "--reset",
            action="store_true",
            help="first remove the demo's organizations with their contents, and its users",
        )
        again.add_argument(
            "--password", action="store_true", help="only show how the demo's users log in"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["password"]:
            self._show_password()
            return
        if options["reset"]:
            self._reset()
        elif removal.organizations():
            raise CommandError(
                "The demo exists already. `demo --password` shows how to log in, `demo --reset`"
                " removes it and starts over."
            )
        self._fill(options)

    def _show_password(self) -> None:
        people = removal.people()
        if not people:
            raise CommandError("The demo does not exist. `demo` creates it.")
        if removal.set_password(people):
            self.stdout.write("The password had been changed; it was reset.")
        self._write_password([user.username for user in people])

    def _write_password(self, people: list[str]) -> None:
        self.stdout.write(
            f"Sign in to the pages, or at /token, as {', '.join(people)}; the password is"
            f" {removal.password()}"
        )

    def _reset(self) -> None:
        try:
            self._wait_for(
                removal.stop_all, why="The demo's deployments do not stop: see the workers' logs."
            )
            removal.remove()
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write("Removed the demo.")

    def _fill(self, options: dict[str, Any]) -> None:
        engine = self._engine(options)
        dice = random.Random(options["seed"])  # noqa: S311 a demo needs no secrets from it
        password = removal.password()
        try:
            organizations = [found(team, password) for team in TEAMS]
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"Three organizations: {', '.join(team.name for team in TEAMS)}.")
        self._write_password([name for team in TEAMS for name in team.people])
        self._submit_all(submit_batch, organizations, dice, "batch")
        urgent = self._submit_all(submit_urgent, organizations, dice, "urgent")
        self._report(organizations, urgent)
        if engine:
            self._run_for_real(engine, password, options["image"])

    def _engine(self, options: dict[str, Any]) -> str | None:
        """Return the endpoint of the engine for real containers, or None to run none.

        Ask the user if an engine answers and no option decides.
        """
        if options["no_docker"]:
            return None
        endpoint = options["docker"] or workshop.usual_endpoint()
        found = workshop.answers(endpoint)
        if options["docker"]:
            if found is None:
                raise CommandError(f"No Docker Engine at {endpoint} could be connected.")
            return endpoint
        if found is None:
            return None
        what = f"A Docker Engine answers at {endpoint} ({found.version})."
        if not sys.stdin.isatty():
            self.stdout.write(f"{what} With --docker, the demo also runs containers there.")
            return None
        answer = input(f"{what} Also run two small containers there? [y/N] ")
        return endpoint if answer.strip().lower() in ("y", "yes") else None

    def _run_for_real(self, endpoint: str, password: str, image: str) -> None:
        try:
            cluster = workshop.found(endpoint, password)
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(
            f"A fourth organization, {workshop.NAME} of {workshop.OWNER}: its cluster"
            f" {cluster.name} is the Docker Engine at {endpoint}."
        )
        hello, counter = workshop.submit(cluster, image)
        self._wait_for(
            lambda: _is(hello, *ENDED) and _is(counter, Status.RUNNING, *ENDED), _FETCH_SECONDS
        )
        for deployment in (hello, counter):
            deployment.refresh_from_db()
            self.stdout.write(f"  {deployment}: {deployment.status}. {deployment.status_reason}")
        if hello.status == Status.COMPLETED:
            self.stdout.write(f"  Its logs: {workshop.logs(hello).strip()}")
        self.stdout.write(
            f"Follow the other one: GET /deployments/{counter.pk}/logs?follow=true. Docker lists it"
            " as well: docker ps"
        )

    def _submit_all(
        self,
        submit: Callable[..., list[Deployment]],
        organizations: list[Organization],
        dice: random.Random,
        word: str,
    ) -> list[Deployment]:
        submitted = [
            deployment
            for team, organization in zip(TEAMS, organizations, strict=True)
            for deployment in submit(team, organization, dice)
        ]
        self.stdout.write(f"Submitted {len(submitted)} {word} deployments.")
        last = {deployment.organization: deployment.created_at for deployment in submitted}
        self._wait_for(
            lambda: (
                all(_was_scheduled(*row) for row in last.items())
                and not Deployment.objects.filter(status=Status.STARTING).exists()
            )
        )
        return submitted

    def _wait_for(
        self,
        condition: Callable[[], bool],
        patience_s: float = _PATIENCE_SECONDS,
        why: str = "No cycle schedules the deployments. Is the worker running? See its log.",
    ) -> None:
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                raise CommandError(why)
            time.sleep(_POLL_SECONDS)

    def _report(self, organizations: list[Organization], urgent: list[Deployment]) -> None:
        here = Deployment.objects.filter(organization__in=organizations)
        for row in here.order_by("status").values("status").annotate(count=Count("pk")):
            self.stdout.write(f"  {row['count']:4} {row['status']}")
        lost = Run.objects.filter(preempted_by__in=urgent).select_related("deployment")
        self.stdout.write(f"{len(lost)} runs were preempted by urgent work.")
        for run in lost[:3]:
            last = run.deployment.status_reason
            self.stdout.write(f"  {run.deployment}: now {run.deployment.status}. {last}")
        waiting = here.pending().order_by("-priority", "pk").first()
        if waiting:
            self.stdout.write(f"To see why one waits: python3 manage.py explain {waiting.pk}")


def _is(deployment: Deployment, *statuses: Status) -> bool:
    deployment.refresh_from_db()
    return deployment.status in statuses


def _was_scheduled(organization: Organization, since: datetime) -> bool:
    cycles = SchedulingCycle.objects.filter(organization=organization)
    return cycles.filter(started_at__gte=since).exists()
