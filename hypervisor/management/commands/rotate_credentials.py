from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from clusters.connections import rotate_credentials
from deployments.notices.services import rotate_keys as rotate_rules
from deployments.registries.services import rotate_passwords
from deployments.rotation import rotate_secrets
from hypervisor.base import commands
from hypervisor.base.secrets import CannotDecrypt
from orgs.webhooks.services import rotate_keys


class Command(commands.Command):
    help = "Encrypt all secrets with the first of CREDENTIALS_KEYS; then remove the other keys."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                connections, deployments = rotate_credentials(), rotate_secrets()
                registries, webhooks = rotate_passwords(), rotate_keys()
                rules = rotate_rules()
        except CannotDecrypt as error:
            raise CommandError(f"Nothing was changed. {error}") from error
        self.stdout.write(
            f"Encrypted the credentials of {connections} connections, the secrets of {deployments}"
            f" deployments, the passwords of {registries} registries, the secrets of {webhooks}"
            f" webhooks and the addresses of {rules} rules for notices with the first key."
        )
