"""Re-encryption of the secrets in environments when keys change."""

from typing import Any

from django.db import transaction
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from deployments.environment import SECRET
from deployments.models import Deployment
from hypervisor.base.secrets import rotate


@transaction.atomic
def rotate_secrets() -> int:
    """Encrypt the secrets of all deployments with the first of CREDENTIALS_KEYS.

    Returns the number of deployments. Raises CannotDecrypt if the key of a secret is missing; then
    nothing has changed. Revisions stay, because no plan depends on the encryption.
    """
    has_secrets: Any = RawSQL(
        "jsonb_path_exists(deployments_deployment.env, '$.*.secret')", [], BooleanField()
    )
    rows = Deployment.objects.locked()
    count = 0
    for pk, env in rows.filter(has_secrets).values_list("pk", "env").iterator():
        Deployment.objects.filter(pk=pk).update(env=_rotated(env))
        count += 1
    return count


def _rotated(env: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str) else {SECRET: rotate(value[SECRET]).decode()}
        for name, value in env.items()
    }
