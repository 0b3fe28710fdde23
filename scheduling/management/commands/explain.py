from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.numbers import argument
from clusters.resources import describe
from deployments.models import Deployment
from scheduling.explain import explain


class Command(BaseCommand):
    help = "Say why a deployment is where it is, by the planner's own words."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deployment", type=argument, help="its id")

    def handle(self, *args: Any, **options: Any) -> None:
        deployment = Deployment.objects.filter(pk=options["deployment"]).first()
        if deployment is None:
            raise CommandError(f"There is no deployment {options['deployment']}.")
        explanation = explain(deployment)
        request = describe(deployment.cpu_milli, deployment.ram_mib, deployment.gpu)
        self.stdout.write(f"{deployment}: {request}, priority {deployment.priority}")
        self.stdout.write(f"{explanation.status} since {explanation.since:%Y-%m-%d %H:%M:%S} UTC")
        if explanation.position:
            self.stdout.write(f"{explanation.position} of {explanation.queue_length} in the queue")
        self.stdout.write(f"{explanation.code}: {explanation.reason}")
        for row in explanation.clusters:
            self.stdout.write(f"  cluster {row['cluster']}: {row['why']}")
