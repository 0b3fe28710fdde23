"""What is missing on each cluster for a deployment that waits, in a few words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scheduling.planner.plan import SCATTERED, Clusters
from scheduling.planner.resources import in_words


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why one cluster cannot take the deployment, in a few words."""

    cluster: str
    text: str


_SHORT = {
    "exceeds_capacity": "too small",
    "no_matching_node": "labels do not match",
    "cluster_cordoned": "cordoned",
    "cluster_draining": "draining",
    "cluster_lost": "no contact",
    "overcommitted": "overcommitted",
}


def shortages_of(clusters: Clusters, names: Mapping[int, str]) -> Iterator[Shortage]:
    """Yield what is missing on each cluster."""
    for row in clusters.first:
        text = _SHORT.get(row["code"]) or _short_of(row)
        yield Shortage(names.get(row["cluster"], f"cluster {row['cluster']}"), text)


def _short_of(row: Mapping[str, Any]) -> str:
    if row["code"] == SCATTERED:
        return f"{in_words(row['free'])} free, but at most {in_words(row['largest'])} on one node"
    return f"short of {in_words(row['missing'])}"
