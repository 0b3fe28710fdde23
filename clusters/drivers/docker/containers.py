"""The settings of a container: its limits and restrictions."""

from typing import Any
from uuid import UUID

from docker import APIClient
from docker.types import DeviceRequest, LogConfig

from clusters.drivers.base import ContainerSpec, RunAs
from clusters.drivers.docker.labels import labels, name

MAX_PROCESSES = 4096
"""Maximum of processes and threads: enough for data loaders, too few for a fork bomb."""

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
"""Enough for an entrypoint that starts as root, prepares its files and becomes another user."""

LOG_FILES, LOG_FILE_MIB = 3, 10
"""How much of a container's latest output is kept on the engine's disk."""

_MIB = 2**20
_LEAST_CPU_MILLI = 10


def settings(client: APIClient, spec: ContainerSpec, uid: UUID, network: str) -> dict[str, Any]:
    """Return the arguments of `create_container`."""
    return {
        "image": spec.image,
        "command": list(spec.command) or None,
        "environment": spec.environment,
        "name": name(uid, spec),
        "labels": labels(uid, spec),
        "user": _user(spec.run_as),
        "host_config": client.create_host_config(**_limits(spec), **_fences(network)),
        # The worker's proxy must not be passed on to containers.
        "use_config_proxy": False,
    }


def _user(run_as: RunAs | None) -> str | None:
    if run_as is None:
        return None
    return str(run_as.uid) if run_as.gid is None else f"{run_as.uid}:{run_as.gid}"


def _limits(spec: ContainerSpec) -> dict[str, Any]:
    ram = spec.ram_mib * _MIB
    return {
        "nano_cpus": max(spec.cpu_milli, _LEAST_CPU_MILLI) * 10**6,
        "mem_limit": ram,
        "memswap_limit": ram,  # memory and swap together, so there is no swap
        "shm_size": ram // 2,  # part of the memory; the default of 64 MiB is too little
        "pids_limit": MAX_PROCESSES,
        "device_requests": _gpus(spec),
        "storage_opt": _storage(spec),
        "log_config": LogConfig(
            type=LogConfig.types.JSON,
            config={"max-size": f"{LOG_FILE_MIB}m", "max-file": str(LOG_FILES)},
        ),
    }


def _storage(spec: ContainerSpec) -> dict[str, str] | None:
    if spec.ephemeral_storage_mib is None:
        return None
    return {"size": f"{spec.ephemeral_storage_mib}M"}  # the engine's M is 2**20


def _fences(network: str) -> dict[str, Any]:
    return {
        "cap_drop": ["ALL"],
        "cap_add": list(CAPABILITIES),
        "security_opt": ["no-new-privileges:true"],
        "privileged": False,
        "network_mode": network,
        "ipc_mode": "private",
        "init": True,  # otherwise a shell as process 1 ignores SIGTERM and reaps no children
        "restart_policy": {"Name": "no"},  # restarts are the scheduler's decision
    }


def _gpus(spec: ContainerSpec) -> list[DeviceRequest]:
    if not spec.devices:
        return []
    return [DeviceRequest(device_ids=list(spec.devices), capabilities=[["gpu"]])]
