"""Every route of the API, collected from the URL configuration."""

from typing import Any

from drf_spectacular.generators import EndpointEnumerator

ENUMERATOR: Any = EndpointEnumerator()


ROUTES = sorted((method, path) for path, _, method, _ in ENUMERATOR.get_api_endpoints())


OF_ADMINS = ("/webhooks", "/notices")
"""The beginnings of the paths of what members see only with the role admin."""

JOB = {"name": "job", "image": "busybox", "cpu": 1, "ram_mib": 1024}
BODIES: dict[str, Any] = {
    "/organizations": {"name": "Initech"},
    "/organizations/{organization_id}/service-accounts": {"name": "new", "role": "viewer"},
    "/clusters": {"name": "anvil", "cpu": 1, "ram_mib": 1024},
    "/clusters/{cluster_id}/nodes": {"name": "n2", "cpu": 1, "ram_mib": 1024},
    "/deployments": JOB,
    "/notices": {"scope": "organization", "kinds": ["failed"]},
    "/registries": {"host": "ghcr.io", "username": "ci", "password": "hunter2"},
    "/deployments/bulk": {"deployments": [JOB]},
    "/deployments/priority": {"priority": 60},
    "/tokens": {"name": "ci", "scopes": ["read"]},
    "/webhooks": {"url": "https://hooks.example.org/new"},
    "/webhooks/{pk}/replay": {"after": 0},
}
"""A valid body of each POST that needs one, by its path."""


def filled_in(path: str, ids: dict[str, int]) -> str:
    if "{" not in path:
        return path
    named = ("nodes", "service-accounts", "deliveries")
    nested = (name for name in named if f"/{name}" in path)
    own = ids.get(next(nested, path.split("/")[1]), 0)
    path = path.replace("{organization_id}", str(ids["organizations"]))
    path = path.replace("{pk}", str(own)).replace("{user_id}", str(ids["user"]))
    path = path.replace("{webhook_id}", str(ids.get("webhooks", 0)))
    return path.replace("{cluster_id}", str(ids["clusters"]))
