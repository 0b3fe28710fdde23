"""Wait reasons with the names of deployments, which the planner does not know."""

from collections.abc import Iterable, Mapping

from deployments.models import Deployment
from scheduling.planner.plan import WaitReason


def names_in(waits: Iterable[WaitReason]) -> dict[int, str]:
    """Read the names of the deployments that the reasons propose to move, by id."""
    ids = {wait.detail["move"]["deployment"] for wait in waits if "move" in wait.detail}
    return dict(Deployment.objects.filter(pk__in=ids).values_list("pk", "name"))


def named(wait: WaitReason, names: Mapping[int, str]) -> str:
    """Return the reason, with the name of the deployment that it proposes to move."""
    id_ = wait.detail.get("move", {}).get("deployment")
    if id_ not in names:
        return wait.reason
    return wait.reason.replace(f"moving deployment {id_} ", f"moving {names[id_]} ({id_}) ")
