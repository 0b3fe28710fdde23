from django.apps import AppConfig


class OrgsConfig(AppConfig):
    name = "orgs"
    verbose_name = "Organizations"

    def ready(self) -> None:
        from accounts import access, closing
        from orgs.closing import leave_all
        from orgs.tokens.services import revoke_all

        access.register(revoke_all)
        closing.register(leave_all)
