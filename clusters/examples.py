"""The clusters and nodes of the examples in the OpenAPI document."""

from typing import Any

LABELS = {"gpu.model": "a100-80gb", "zone": "a"}

NEW_NODE: dict[str, Any] = {
    "name": "gpu", "count": 2, "cpu": 96, "ram_mib": "1Ti", "gpu": 8, "labels": LABELS,
}  # fmt: skip

NODE: dict[str, Any] = {
    "id": 5,
    "cluster": 3,
    "name": "gpu-1",
    "cpu": 96,
    "ram_mib": 1048576,
    "gpu": 8,
    "labels": LABELS,
    "allocated": {"cpu": 8, "ram_mib": 16384, "gpu": 2},
    "available": {"cpu": 88, "ram_mib": 1032192, "gpu": 6},
    "foreign": {"cpu": 0, "ram_mib": 0, "gpu": 0},
    "state": "active",
    "engine_message": "",
    "lost_contact_at": None,
    "created_at": "2026-01-05T09:00:00Z",
}

CLUSTER: dict[str, Any] = {
    "id": 3,
    "organization": 1,
    "name": "rack-1",
    "cpu": 192,
    "ram_mib": 2097152,
    "gpu": 16,
    "nodes": 2,
    "allocated": {"cpu": 8, "ram_mib": 16384, "gpu": 2},
    "available": {"cpu": 184, "ram_mib": 2080768, "gpu": 14},
    "largest_free": {"cpu": 96, "ram_mib": 1048576, "gpu": 8},
    "state": "active",
    "driver": "simulated",
    "lost_contact_at": None,
    "created_at": "2026-01-05T09:00:00Z",
}
