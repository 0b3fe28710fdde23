"""Every route of the API, collected from the URL configuration."""

from typing import Any

from drf_spectacular.generators import EndpointEnumerator

ENUMERATOR: Any = EndpointEnumerator()


ROUTES = sorted((method, path) for path, _, method, _ in ENUMERATOR.get_api_endpoints())


def filled_in(path: str, ids: dict[str, int]) -> str:
    if "{" not in path:
        return path
    own = ids["nodes" if "/nodes" in path else path.split("/")[1]]
    path = path.replace("{pk}", str(own)).replace("{user_id}", str(ids["user"]))
    return path.replace("{cluster_id}", str(ids["clusters"]))
