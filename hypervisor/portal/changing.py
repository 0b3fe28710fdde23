"""The form that changes a deployment: the fields of a submission that can change at present."""

from typing import Any

from accounts.models import User
from deployments import bulk
from deployments.choices import Status
from deployments.models import Deployment
from deployments.serializers import DeploymentSerializer
from deployments.specs import CHANGEABLE_ALWAYS, Spec
from hypervisor.portal import typed
from hypervisor.portal.submission import SubmitForm, like

_NEVER = ("key", "organization", "array", "at_once")
_ELSEWHERE = "priority"
"""Changed by an action of its own, which shows the consequences first."""


class ChangeForm(SubmitForm):
    """The present values of a deployment; what is emptied gets the default of a submission.

    Of a deployment that is on a cluster, and of an element of an array, few fields can change.
    """

    readers = {**SubmitForm.readers, "secrets": typed.read_variables}

    def __init__(self, person: User, deployment: Deployment, data: Any = None) -> None:
        super().__init__(person, data, initial=like(deployment) | {"name": deployment.name})
        self.person, self.deployment = person, deployment
        self.is_whole = deployment.status == Status.PENDING and deployment.array_id is None
        for name in list(self.fields):
            if name in (*_NEVER, _ELSEWHERE) or not (self.is_whole or name in CHANGEABLE_ALWAYS):
                del self.fields[name]
        fields: dict[str, Any] = self.fields
        if self.is_whole:
            fields["secrets"].help_text = _about_secrets(deployment)
            clusters = fields["requested_cluster"].queryset
            fields["requested_cluster"].queryset = clusters.filter(
                organization=deployment.organization_id
            )

    def body(self) -> dict[str, Any]:
        """Return the body of the PUT or PATCH that makes the change."""
        if self.is_whole:
            return super().body() | {"priority": self.deployment.priority}
        return {"labels": {}} | super().body()

    def serializer(self) -> DeploymentSerializer:
        return DeploymentSerializer(self.deployment, data=self.body(), partial=not self.is_whole)

    def spec(self) -> Spec | None:
        """Return what the deployment shall be; None if something is wrong, which the form says.

        Raises NotFound and Invalid if the requested cluster is not possible.
        """
        serializer = self.checked()
        if serializer is None:
            return None
        row = serializer.validated_data
        return serializer.spec(bulk.cluster_of_change(self.person, self.deployment, row))


def _about_secrets(deployment: Deployment) -> str:
    """Return the help of the field for secrets, with the names of those that the field hides."""
    stored = sorted(name for name, value in deployment.env.items() if not isinstance(value, str))
    names = f" Stored: {', '.join(stored)}." if stored else ""
    return f"One NAME=value on each line; without a value, the stored one is kept.{names}"
