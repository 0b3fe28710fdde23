"""Deployments as arguments of commands."""

from deployments.models import Deployment
from hypervisor.base.commands import named


def deployment_named(text: str) -> Deployment:
    """Return the deployment with that id or name. Raises CommandError unless there is one."""
    deployments = Deployment.objects.select_related("organization").order_by("-pk")
    return named(
        deployments, text, lambda deployment: f"{deployment.organization}, {deployment.status}"
    )
