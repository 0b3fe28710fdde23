"""What an engine says of itself, and what an operator should know before connecting it."""

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
    )


def _advertised(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the GPUs that the engine was told of (`node-generic-resources` of daemon.json)."""
    named = (resource.get("NamedResourceSpec") for resource in info.get("GenericResources") or ())
    return tuple(spec["Value"] for spec in named if spec and "GPU" in spec["Kind"].upper())


def _warnings(engine: APIClient, info: Mapping[str, Any], connection: Connection) -> Iterator[str]:
    for key, word in _LIMITS.items():
        if not info.get(key):
            yield f"The engine's kernel cannot enforce {word} limits: a container may take more."
    if not info.get("LiveRestoreEnabled"):
        yield (
            "Containers end when the engine restarts. With `live-restore` in its daemon.json they"
            " live on."
        )
    if connection.network == Connection.Network.ISOLATED and not info.get("BridgeNfIptables"):
        yield (
            "Containers could reach each other: load the kernel module br_netfilter there, or"
            " connect it with the network `none`."
        )
    others = [c for c in engine.containers() if c["Labels"].get(CONNECTION) != str(connection.uid)]
    if others:
        yield (
            f"{len(others)} containers run there that are not the hypervisor's: it does not know"
            " what they use."
        )
