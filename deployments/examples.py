"""The deployments of the examples in the OpenAPI document."""

from typing import Any

SPEC: dict[str, Any] = {
    "name": "train-resnet",
    "labels": {"team": "vision", "run": "42"},
    "image": "ml/train:1",
    "command": ["python", "train.py"],
    "env": {"EPOCHS": "40"},
    "cpu": 8,
    "ram_mib": "16Gi",
    "gpu": 2,
    "priority": 20,
}

DEPLOYMENT: dict[str, Any] = {
    "id": 7,
    "organization": 1,
    **SPEC,
    "ram_mib": 16384,
    "run_as": None,
    "ephemeral_storage_mib": None,
    "requested_cluster": None,
    "require": {},
    "prefer": {},
    "cluster": 3,
    "node": {"id": 5, "name": "gpu-1"},
    "status": "running",
    "status_reason": "Runs on rack-1.",
    "status_code": "running",
    "held": False,
    "max_runtime_s": None,
    "restart_policy": "never",
    "max_restarts": 3,
    "restarts": 0,
    "depends_on": [],
    "on_dependency_failure": "wait",
    "array": None,
    "preemptions": 0,
    "exit_code": None,
    "created_by": 1,
    "created_at": "2026-01-05T09:10:00Z",
    "queued_at": "2026-01-05T09:10:00Z",
    "ready_after": None,
    "placed_at": "2026-01-05T09:10:01Z",
    "started_at": "2026-01-05T09:10:03Z",
    "finished_at": None,
    "lost_contact_at": None,
}

EVENT: dict[str, Any] = {
    "time": "2026-01-05T09:10:01Z",
    "kind": "placed",
    "actor": "system:scheduler",
    "reason": "Needs 8 CPU, 16 GiB RAM, 2 GPU; placed on rack-1.",
    "status": "starting",
    "data": {},
}

SELECTION: dict[str, Any] = {
    "dry_run": False,
    "deployments": [7, 8],
    "skipped": [
        {
            "deployment": 9,
            "code": "running",
            "reason": "Deployment 9 is running, but this is possible only while it is pending: stop"
            " it first.",
        }
    ],
    "skipped_count": 1,
    "remaining": 0,
}
