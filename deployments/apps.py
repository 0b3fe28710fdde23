from django.apps import AppConfig

from orgs import departures


class DeploymentsConfig(AppConfig):
    name = "deployments"

    def ready(self) -> None:
        from deployments.handover import left_by

        departures.register("deployments", left_by)
