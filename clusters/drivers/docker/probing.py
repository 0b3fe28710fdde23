"""Probe an engine: its identity and amounts, with warnings for the operator who connects it."""

from collections.abc import Iterator, Mapping
from typing import Any

from docker import APIClient

from clusters.drivers.base import Probe
from clusters.drivers.docker.labels import CONNECTION
from clusters.models import Connection

_MIB = 2**20

_LIMITS = {
    "MemoryLimit": "memory",
    "SwapLimit": "swap",
    "CpuCfsQuota": "CPU",
    "PidsLimit": "process",
}


def probe(engine: APIClient, connection: Connection) -> Probe:
    info = engine.info()
    devices = tuple(connection.devices) or _advertised(info)
    return Probe(
        engine_id=f"docker:{info['ID']}",
        version=f"Docker {info['ServerVersion']}, API {engine.api_version}",
        cpu_milli=info["NCPU"] * 1000,
        ram_mib=info["MemTotal"] // _MIB,
        gpu=len(devices),
        devices=devices,
        warnings=tuple(_warnings(engine, info, connection)),
        can_limit_storage=can_limit_storage(info),
    )


def can_limit_storage(info: Mapping[str, Any]) -> bool:
    """Whether the engine may be able to limit storage.

    The image store of containerd ignores a limit. On overlay2, the engine does not report whether
    its file system XFS has project quotas, and refuses a container if it has not.
    """
    status = dict(info.get("DriverStatus") or ())
    if status.get("driver-type") == "io.containerd.snapshotter.v1":
        return False
    return not (info.get("Driver") or "").startswith("overlay") or (
        status.get("Backing Filesystem") == "xfs"
    )


def _advertised(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the GPUs in the engine's configuration (`node-generic-resources` in daemon.json)."""
    named = (resource.get("NamedResourceSpec") for resource in info.get("GenericResources") or ())
    return tuple(spec["Value"] for spec in named if spec and "GPU" in spec["Kind"].upper())


def _warnings(engine: APIClient, info: Mapping[str, Any], connection: Connection) -> Iterator[str]:
    for key, word in _LIMITS.items():
        if not info.get(key):
            yield (
                f"The engine's kernel does not enforce {word} limits, so a container may use more"
                " than it requested: enable the kernel's cgroup support for it."
            )
    if not info.get("LiveRestoreEnabled"):
        yield (
            "Containers end when the engine restarts: set `live-restore` in its daemon.json to keep"
            " them running."
        )
    if connection.network == Connection.Network.ISOLATED and not info.get("BridgeNfIptables"):
        yield (
            "Containers can reach each other: load the kernel module br_netfilter on the engine's"
            " machine, or connect the cluster with the network `none`."
        )
    others = [c for c in engine.containers() if c["Labels"].get(CONNECTION) != str(connection.uid)]
    if others:
        yield (
            f"Other containers run on the engine ({len(others)}), for which the hypervisor does not"
            " account: move them elsewhere, or give the cluster a smaller capacity."
        )
