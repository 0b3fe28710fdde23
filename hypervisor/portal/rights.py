"""What a person may do with a deployment: the roles are those of the calls of the REST API."""

from collections.abc import Iterable

from accounts.models import User
from deployments.models import Deployment
from orgs.models import Role
from orgs.permissions import require, role_of
from scheduling.insight.operator_actions import ACTIONS, Action
from scheduling.views import DeploymentViewSet

_CALLS = {
    "hold": "hold",
    "release": "release",
    "reprioritize": "update",
    "cancel": "cancel",
    "stop": "stop",
    "start": "start",
    "delete": "destroy",
}
"""The call of the API for each action of members. All other actions are for operators."""

MEMBERS_ACTIONS = {name: ACTIONS[name] for name in _CALLS}


def permitted(actions: Iterable[Action], deployment: Deployment, person: User) -> list[Action]:
    """Return the actions that the person's role allows on the deployment."""
    role = role_of(person, deployment.organization_id)
    return [
        action
        for action in actions
        if action.name in _CALLS and role.rank >= _needed(action, deployment, person).rank
    ]


def check(action: Action, deployment: Deployment, person: User) -> None:
    """Raise Forbidden if the person's role does not allow the action on the deployment."""
    require(person, deployment.organization_id, _needed(action, deployment, person))


def _needed(action: Action, deployment: Deployment, person: User) -> Role:
    return DeploymentViewSet.role_needed(_CALLS[action.name], deployment, person)
