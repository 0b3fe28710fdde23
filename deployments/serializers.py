"""The REST representation of deployments and of their events."""

from typing import Any

from rest_framework import serializers

from clusters.fields import CpuField, RamField, StorageField
from clusters.models import Cluster, Node
from clusters.resources import MAX_GPU
from deployments.arrays.fields import ArrayField
from deployments.choices import OnDependencyFailure, RestartPolicy
from deployments.examples import DEPLOYMENT, EVENT, SELECTION, SPEC
from deployments.fields import (
    MAX_ENTRIES,
    MAX_TEXT,
    EnvField,
    LabelsField,
    PreferField,
    RequireField,
    RunAsField,
    WaitsField,
)
from deployments.images import check_reference
from deployments.models import Deployment
from deployments.specs import Spec
from hypervisor.base.names import TextSerializerField
from hypervisor.rest.schemas import example
from hypervisor.rest.serializers import (
    ChoiceField,
    IdField,
    IntegerField,
    StrictModelSerializer,
    StrictSerializer,
)
from orgs.models import Event
from orgs.serializers import OrganizationField


class NodeReferenceSerializer(serializers.ModelSerializer[Node]):
    class Meta:
        model = Node
        fields = ["id", "name"]


@example(body=SPEC, change={"name": "train-resnet-50", "priority": 30}, answer=DEPLOYMENT)
class DeploymentSerializer(StrictModelSerializer[Deployment]):
    """A deployment. In a request, `cluster` means the same as `requested_cluster`."""

    organization = OrganizationField()
    labels = LabelsField(default=dict)
    cpu = CpuField(source="cpu_milli")
    ram_mib = RamField()
    gpu = IntegerField(min_value=0, max_value=MAX_GPU, default=0)
    priority = IntegerField(min_value=1, max_value=100, default=50)
    command = serializers.ListField(
        child=TextSerializerField(allow_blank=True, max_length=MAX_TEXT),
        max_length=MAX_ENTRIES,
        default=list,
    )
    env = EnvField(default=dict)
    run_as = RunAsField(allow_null=True, default=None)
    ephemeral_storage_mib = StorageField(allow_null=True, default=None)
    requested_cluster = IdField(
        source="requested_cluster_id",
        allow_null=True,
        required=False,
        help_text="Id of the only cluster that it may run on. Null: any cluster of its"
        " organization.",
    )
    require = RequireField(default=dict)
    prefer = PreferField(default=dict)
    cluster = IdField(
        source="cluster_id",
        allow_null=True,
        required=False,
        help_text="Id of the cluster that it is on; null while it is on none.",
    )
    node = NodeReferenceSerializer(
        read_only=True,
        allow_null=True,
        help_text="The machine of that cluster that it is on; null while it is on none.",
    )
    max_runtime_s = IntegerField(
        min_value=1,
        max_value=2**31 - 1,
        allow_null=True,
        default=None,
        help_text="Seconds after which a run is ended and the deployment is `completed`. Null: no"
        " limit.",
    )
    array = ArrayField(required=False, allow_null=True)
    depends_on = WaitsField(source="dependencies", default=())
    on_dependency_failure = ChoiceField(
        choices=OnDependencyFailure.choices,
        default=OnDependencyFailure.WAIT,
        help_text="What to do if a dependency ends without satisfying its condition: wait until"
        " someone starts it again, or cancel this deployment.",
    )
    restart_policy = ChoiceField(
        choices=RestartPolicy.choices,
        default=RestartPolicy.NEVER,
        help_text="Whether the deployment is queued again after a failure of its own: after 10"
        " seconds at first, then after twice as long each time, up to 5 minutes. An eviction or a"
        " failure of the engine does not count.",
    )
    max_restarts = IntegerField(
        min_value=1,
        max_value=1000,
        default=3,
        help_text="The most restarts in a row. A run of ten minutes resets the count.",
    )
    lost_contact_at = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Since when the engine that it runs on has not answered; null while it answers.",
    )

    class Meta:
        model = Deployment
        fields = [
            "id", "organization", "name", "labels", "image", "command", "env", "run_as", "cpu",
            "ram_mib", "gpu", "ephemeral_storage_mib", "priority", "requested_cluster", "require",
            "prefer", "cluster", "node", "status", "status_reason", "status_code", "held",
            "max_runtime_s", "restart_policy", "max_restarts", "restarts", "depends_on",
            "on_dependency_failure", "array", "preemptions", "exit_code", "created_by",
            "created_at", "queued_at", "ready_after", "placed_at", "started_at", "finished_at",
            "lost_contact_at",
        ]  # fmt: skip
        read_only_fields = [
            "id", "status", "status_reason", "status_code", "held", "restarts", "preemptions",
            "exit_code", "created_by", "created_at", "queued_at", "ready_after", "placed_at",
            "started_at", "finished_at",
        ]  # fmt: skip
        extra_kwargs = {
            "image": {
                "trim_whitespace": False,
                "help_text": "An image reference: `[registry/]repository[:tag][@digest]`.",
            },
            "status_reason": {"help_text": "Why it has this status, and what to do about it."},
            "status_code": {"help_text": "The machine-readable form of `status_reason`."},
            "held": {"help_text": "Whether an admin has put it on hold until it is released."},
            "restarts": {"help_text": "Restarts in a row after failures of its own."},
            "preemptions": {
                "help_text": "How often it has been preempted since it was submitted or started"
                " again."
            },
            "queued_at": {
                "help_text": "When it was last queued: submitted, started again, or restarted after"
                " a failure of its own."
            },
            "ready_after": {
                "help_text": "When its back-off ends and it competes again; null without back-off."
            },
            "placed_at": {
                "help_text": "When the present placement began, or the last one of an ended"
                " deployment. Null while pending, and if it was never placed."
            },
            "started_at": {
                "help_text": "When the container of that placement began to run. Null until then."
            },
        }

    def validate_image(self, image: str) -> str:
        # An unchanged image is accepted even if it was stored before the check existed.
        if self.instance is None or image != self.instance.image:
            try:
                check_reference(image)
            except ValueError as error:
                raise serializers.ValidationError(str(error)) from error
        return image

    def validate_organization(self, organization_id: int) -> int:
        if self.instance is not None and organization_id != self.instance.organization_id:
            raise serializers.ValidationError(
                "A deployment cannot change its organization: leave `organization` out."
            )
        return organization_id

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # `requested_cluster` wins, because a client that sends a response back includes `cluster`.
        named = "cluster_id" in attrs
        placed = attrs.pop("cluster_id", None)
        if "requested_cluster_id" in attrs:
            attrs["cluster_field"] = "requested_cluster"
        elif named or not self.partial:
            attrs |= {"requested_cluster_id": placed, "cluster_field": "cluster"}
        return attrs

    def spec(self, requested_cluster: Cluster | None) -> Spec:
        """Return the requested specification; fields that a PATCH leaves out stay unchanged."""
        former = Spec.of(self.instance) if self.instance else None
        return Spec.from_fields(self.validated_data, requested_cluster, former)


@example(body={"deployments": [SPEC]}, answer={"deployments": [DEPLOYMENT]})
class BulkSerializer(StrictSerializer):
    """Up to 1,000 deployments, each as in `POST /deployments`."""

    deployments = serializers.ListField(
        child=DeploymentSerializer(), allow_empty=False, max_length=1000
    )


@example(body={"from_user": 2, "to_user": 1}, answer={"handed_over": 4})
class HandOverSerializer(StrictSerializer):
    """The ids of the present and the new submitter; `organization` for members of several."""

    organization = OrganizationField(write_only=True)
    from_user = IdField(write_only=True, help_text="Id of the present submitter.")
    to_user = IdField(write_only=True, help_text="Id of the new submitter.")
    handed_over = serializers.IntegerField(
        read_only=True, help_text="The number of deployments that were handed over."
    )


@example(body={"priority": 30})
class PrioritySerializer(StrictSerializer):
    """The new priority of all selected deployments."""

    priority = IntegerField(min_value=1, max_value=100, write_only=True)


class SkippedSerializer(serializers.Serializer[Any]):
    """A selected deployment that was not changed."""

    deployment = serializers.IntegerField(help_text="Its id.")
    code = serializers.CharField(
        help_text="Its status if that does not allow the change, `permission_denied`, `unchanged`"
        " if it is already as requested, or `changed` if it changed during the call."
    )
    reason = serializers.CharField(help_text="Why it was skipped, and what to do about it.")


@example(answer=SELECTION)
class SelectionSerializer(serializers.Serializer[Any]):
    """The result for all selected deployments that the call is about."""

    dry_run = serializers.BooleanField(help_text="True if nothing was changed.")
    deployments = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="The ids of the deployments that were changed; in a dry run, that would be.",
    )
    skipped = SkippedSerializer(
        many=True, help_text="The deployments that were not changed, at most 10,000 of them."
    )
    skipped_count = serializers.IntegerField(help_text="How many deployments were not changed.")
    remaining = serializers.IntegerField(
        help_text="How many deployments are left for another call, because of the `limit`."
    )


@example(answer=EVENT)
class EventSerializer(serializers.ModelSerializer[Event]):
    """An event in the history of a deployment."""

    class Meta:
        model = Event
        fields = ["time", "kind", "actor", "reason", "status", "data"]
