from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from orgs import departures


class DeploymentsConfig(AppConfig):
    name = "deployments"

    def ready(self) -> None:
        from accounts import closing
        from clusters import demand
        from deployments.demand import DemandOnClusters, before_deletion
        from deployments.handover import left_by
        from deployments.notices.services import forget, lock_for_deletion
        from orgs import deletion

        closing.register(forget)
        departures.register("deployments", left_by)
        deletion.register(before_deletion)
        deletion.register(lock_for_deletion)
        demand.register(DemandOnClusters())
        post_migrate.connect(_install, sender=self)


def _install(**_: Any) -> None:
    """Add the functions that a submission calls to the database."""
    from accounts.authentication import reading_user
    from deployments.bulk import READ_WITH_CALLER
    from deployments.insertion import AT_ONCE
    from orgs.tokens.services import reading_token

    reads = reading_user(READ_WITH_CALLER), reading_token(READ_WITH_CALLER)
    for function in (AT_ONCE, *(read.function for read in reads)):
        function.install()
