"""Deployments as containers of a Docker Engine, API 1.41 (Docker 20.10) or newer."""

from clusters.drivers.docker.driver import DockerDriver

__all__ = ["DockerDriver"]
