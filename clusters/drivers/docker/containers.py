"""What a container gets, and what it does not."""

from typing import Any
from uuid import UUID

from docker import APIClient
from docker.types import DeviceRequest, LogConfig

from clusters.drivers.base import ContainerSpec
from clusters.drivers.docker.labels import labels, name

MAX_PROCESSES = 4096
"""Processes and threads: enough for a training's data loaders, not for a fork bomb."""

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
"""What an entrypoint needs that starts as root, prepares its files and becomes another user."""

LOG_FILES, LOG_FILE_MIB = 3, 10
"""A container's output: the newest of it, on the engine's disk."""

_MIB = 2**20
_LEAST_CPU_MILLI = 10


def settings(client: APIClient, spec: ContainerSpec, uid: UUID, network: str) -> dict[str, Any]:
    """Return what `create_container` takes."""
    return {
        "image": spec.image,
        "command": list(spec.command) or None,
        "environment": dict(spec.env),
        "name": name(uid, spec),
        "labels": labels(uid, spec),
        "host_config": client.create_host_config(**_limits(spec), **_fences(network)),
        # The worker's own proxy is none of the container's business.
        "use_config_proxy": False,
    }


def _limits(spec: ContainerSpec) -> dict[str, Any]:
    ram = spec.ram_mib * _MIB
    return {
        "nano_cpus": max(spec.cpu_milli, _LEAST_CPU_MILLI) * 10**6,
        "mem_limit": ram,
        "memswap_limit": ram,  # of both together: no swap
        "shm_size": ram // 2,  # counts as its memory; 64 MiB are too few for data loaders
        "pids_limit": MAX_PROCESSES,
        "device_requests": _gpus(spec),
        "log_config": LogConfig(
            type=LogConfig.types.JSON,
            config={"max-size": f"{LOG_FILE_MIB}m", "max-file": str(LOG_FILES)},
        ),
    }


def _fences(network: str) -> dict[str, Any]:
    return {
        "cap_drop": ["ALL"],
        "cap_add": list(CAPABILITIES),
        "security_opt": ["no-new-privileges:true"],
        "privileged": False,
        "network_mode": network,
        "ipc_mode": "private",
        "init": True,  # otherwise a shell as process 1 ignores SIGTERM, and nobody reaps
        "restart_policy": {"Name": "no"},  # what runs again, and where, is the scheduler's to say
    }


def _gpus(spec: ContainerSpec) -> list[DeviceRequest]:
    if not spec.devices:
        return []
    return [DeviceRequest(device_ids=list(spec.devices), capabilities=[["gpu"]])]
