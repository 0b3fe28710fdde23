from django.apps import AppConfig

from orgs import departures


class DeploymentsConfig(AppConfig):
    name = "deployments"

    def ready(self) -> None:
        from clusters import demand
        from deployments.demand import DemandOnClusters, before_deletion
        from deployments.handover import left_by
        from orgs import deletion

        departures.register("deployments", left_by)
        deletion.register(before_deletion)
        demand.register(DemandOnClusters())
