"""Deployments as containers of a Docker Engine, API 1.41 (Docker 20.10) or newer."""

import os

from clusters.drivers.kinds import Kind


def _local_endpoint() -> str:
    """Return the endpoint that Docker's own tools use on this machine."""
    given = os.environ.get("DOCKER_HOST", "")
    return given if given.startswith("unix://") else "unix:///var/run/docker.sock"


KIND = Kind(
    title="Docker",
    driver="clusters.drivers.docker.driver.DockerDriver",
    form="clusters.drivers.docker.form.DockerForm",
    options="clusters.drivers.docker.options.DockerOptions",
    chooses_devices=False,
    has_fixed_capacity=True,
    has_several_nodes=True,
    has_engine_per_node=True,
    can_watch=True,
    local_endpoint=_local_endpoint,
)
