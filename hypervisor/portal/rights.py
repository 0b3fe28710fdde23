"""What a person may do with a deployment: the roles are those of the calls of the REST API."""

from collections.abc import Iterable

from accounts.models import User
from deployments.models import Array, Deployment
from orgs.models import Role
from orgs.permissions import require, role_of
from scheduling.insight.operator_actions import ACTIONS, Action
from scheduling.views import DeploymentViewSet

CALLS = {
    "hold": "hold",
    "release": "release",
    "reprioritize": "update",
    "cancel": "cancel",
    "stop": "stop",
    "start": "start",
    "delete": "destroy",
}
"""The call of the API for each action of members. All other actions are for operators."""

MEMBERS_ACTIONS = {name: ACTIONS[name] for name in CALLS}


def permitted(actions: Iterable[Action], deployment: Deployment, person: User) -> list[Action]:
    """Return the actions that the person's role allows on the deployment."""
    role = role_of(person, deployment.organization_id)
    return [
        action
        for action in actions
        if action.name in CALLS
        and role.rank >= _needed(CALLS[action.name], deployment, person).rank
    ]


def may(call: str, row: Deployment | Array, person: User) -> bool:
    """Return whether the person may make the call of the API about the deployment, or about the
    elements of the array.
    """
    return role_of(person, row.organization_id).rank >= _needed(call, row, person).rank


def check(call: str, row: Deployment | Array, person: User) -> None:
    """Raise Forbidden if `may` does not allow the call."""
    require(person, row.organization_id, _needed(call, row, person))


def _needed(call: str, row: Deployment | Array, person: User) -> Role:
    # Who submitted an array submitted its elements.
    return DeploymentViewSet.role_needed(call, row, person)  # type: ignore[arg-type]
