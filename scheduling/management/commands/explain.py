from typing import Any

from django.core.management.base import CommandParser

from clusters.resources import describe
from deployments.management.naming import deployment_named
from deployments.models import Deployment
from hypervisor.base import commands
from scheduling.insight.explain import Explanation, explain
from scheduling.insight.organization_queue import NEXT
from scheduling.serializers import ExplanationSerializer


class Command(commands.Command):
    help = "Explain why a deployment is in its state, as the planner sees it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deployment", metavar="DEPLOYMENT", help="its name or its id")
        commands.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        deployment = deployment_named(options["deployment"])
        explanation = explain(deployment)
        if options["json"]:
            self.write_json(ExplanationSerializer(explanation).data)
        else:
            self._print(deployment, explanation)

    def _print(self, deployment: Deployment, explanation: Explanation) -> None:
        request = describe(deployment.cpu_milli, deployment.ram_mib, deployment.gpu)
        self.stdout.write(f"{deployment}: {request}, priority {deployment.priority}")
        self.stdout.write(f"{explanation.status} since {explanation.since:%Y-%m-%d %H:%M:%S} UTC")
        if explanation.position:
            self.stdout.write(f"{explanation.position} of {explanation.queue_length} in the queue")
        self.stdout.write(f"{explanation.code}: {explanation.reason}")
        if explanation.turn:
            self.stdout.write(str(explanation.turn))
        if explanation.forecast and explanation.code != NEXT:
            self.stdout.write(explanation.forecast.reason)
        for row in explanation.clusters:
            self.stdout.write(f"  cluster {row['cluster']}: {row['name']}: {row['why']}.")
