from django.apps import AppConfig


class ClustersConfig(AppConfig):
    name = "clusters"

    def ready(self) -> None:
        from clusters.services import lock_for_deletion
        from orgs import deletion

        deletion.register(lock_for_deletion)
