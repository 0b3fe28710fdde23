from typing import Any

from django.core.management.base import BaseCommand, CommandError

from clusters.connections import rotate_credentials
from clusters.secrets import CannotDecrypt


class Command(BaseCommand):
    help = "Encrypt all secrets with the first of CREDENTIALS_KEYS, so that the others can go."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            connections = rotate_credentials()
        except CannotDecrypt as error:
            raise CommandError(f"Nothing has changed. {error}") from error
        self.stdout.write(f"Encrypted the credentials of {connections} connections anew.")
