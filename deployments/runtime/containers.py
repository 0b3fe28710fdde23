"""What an engine is to start for a run."""

from collections.abc import Mapping
from uuid import UUID

from clusters.drivers.base import Cause, ContainerSpec, DriverError, RegistryLogin, RunAs
from clusters.secrets import CannotDecrypt
from deployments.environment import opened, plain
from deployments.models import Deployment, Registry
from deployments.registries.services import login_for
from deployments.runtime.launching import Launch


def container_of(
    launch: Launch, uid: UUID, registries: Mapping[str, Registry], *, bound: bool
) -> ContainerSpec:
    """Return what the engine is to start, on the node of the run if it is `bound`.

    `registries` are those of its organization by their hosts.
    Raises DriverError if a secret cannot be decrypted.
    """
    run = launch.run
    return ContainerSpec(
        uid=uid,
        image=run.deployment.image,
        command=tuple(run.deployment.command),
        env=plain(run.deployment.env),
        secrets=_secrets(run.deployment),
        login=_login(run.deployment, registries),
        ephemeral_storage_mib=run.deployment.ephemeral_storage_mib,
        run_as=RunAs(**run.deployment.run_as) if run.deployment.run_as else None,
        cpu_milli=run.cpu_milli,
        ram_mib=run.ram_mib,
        gpu=run.gpu,
        devices=launch.devices,
        node=run.node.name if bound and run.node else "",
        run_id=run.pk,
    )


def _secrets(deployment: Deployment) -> dict[str, str]:
    try:
        return opened(deployment.env)
    except CannotDecrypt as error:
        raise DriverError(
            f"A secret of its `env` cannot be decrypted: set it again. {error}",
            retriable=False,
            cause=Cause.INVALID_SPEC,
        ) from error


def _login(deployment: Deployment, registries: Mapping[str, Registry]) -> RegistryLogin | None:
    try:
        return login_for(registries, deployment.image)
    except CannotDecrypt as error:
        raise DriverError(
            "The password of its image's registry cannot be decrypted: an admin of the organization"
            f" has to set it again. {error}",
            retriable=False,
            cause=Cause.IMAGE_NOT_PULLABLE,
        ) from error
