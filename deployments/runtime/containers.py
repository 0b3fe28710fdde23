"""What an engine is to start for a run."""

from collections.abc import Mapping
from uuid import UUID

from clusters.drivers.base import Cause, ContainerSpec, DriverError, RegistryLogin, RunAs
from deployments.environment import opened, plain
from deployments.models import Deployment, Registry
from deployments.registries.services import login_for
from deployments.runtime.launching import Launch
from hypervisor.base.secrets import CannotDecrypt


def container_of(
    launch: Launch, deployment: Deployment, uid: UUID, registries: Mapping[str, Registry], node: str
) -> ContainerSpec:
    """Return what the engine is to start, on the node with this name unless it is "".

    `registries` are those of its organization by their hosts.
    Raises DriverError if a secret cannot be decrypted.
    """
    run = launch.run
    return ContainerSpec(
        uid=uid,
        image=deployment.image,
        command=tuple(deployment.command),
        env=plain(deployment.env),
        secrets=_secrets(deployment),
        login=_login(deployment, registries),
        ephemeral_storage_mib=deployment.ephemeral_storage_mib,
        run_as=RunAs(**deployment.run_as) if deployment.run_as else None,
        cpu_milli=run.cpu_milli,
        ram_mib=run.ram_mib,
        gpu=run.gpu,
        devices=launch.devices,
        node=node,
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
