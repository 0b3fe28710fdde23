"""The REST representation of deployments and of their events."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from clusters.fields import CpuField, RamField, StorageField
from clusters.labels import MAX_VALUE
from clusters.models import Cluster, Node
from clusters.resources import MAX_GPU
from deployments import requirements
from deployments.dependencies import Wait
from deployments.environment import SECRET, masked, seal, wrong_name
from deployments.fields import RunAsField
from deployments.images import check_reference
from deployments.models import Condition, Deployment, OnDependencyFailure, RestartPolicy
from deployments.specs import Spec
from hypervisor.rest.serializers import IntegerField, StrictModelSerializer, StrictSerializer
from orgs.models import Event
from orgs.serializers import OrganizationField

_MAX_ID = 2**63 - 1
_MAX_ENTRIES = 100
_MAX_TEXT = 4096


@extend_schema_field(
    {
        "type": "array",
        "items": {
            "oneOf": [
                {"type": "integer"},
                {
                    "type": "object",
                    "properties": {
                        "deployment": {"type": "integer"},
                        "condition": {"type": "string", "enum": Condition.values},
                    },
                    "required": ["deployment"],
                },
            ]
        },
        "example": [{"deployment": 7, "condition": "completed"}],
    }
)
class WaitsField(serializers.Field[tuple[Wait, ...], Any, Any, Any]):
    """`depends_on`: a list of ids, or of objects with `deployment` and `condition`."""

    def to_internal_value(self, data: Any) -> tuple[Wait, ...]:
        if not isinstance(data, list) or len(data) > _MAX_ENTRIES:
            raise serializers.ValidationError(f"Give a list of at most {_MAX_ENTRIES} entries.")
        return tuple(self._wait(entry) for entry in data)

    def to_representation(self, value: Any) -> list[dict[str, Any]]:
        return [{"deployment": wait.on_id, "condition": wait.condition} for wait in value.all()]

    def _wait(self, entry: Any) -> Wait:
        if isinstance(entry, dict):
            unknown = set(entry) - {"deployment", "condition"}
            deployment, condition = entry.get("deployment"), entry.get("condition", "completed")
        else:
            unknown, deployment, condition = set(), entry, "completed"
        plain_id = isinstance(deployment, int) and not isinstance(deployment, bool)
        if unknown or deployment is None or not plain_id or condition not in Condition.values:
            raise serializers.ValidationError(
                "Each entry must be an id, or"
                ' {"deployment": id, "condition": "completed" or "running"}.'
            )
        return Wait(deployment, Condition(condition))


_TEXT = {"type": "string", "maxLength": _MAX_TEXT}


@extend_schema_field(
    {
        "type": "object",
        "description": "Environment variables by name. A name has only letters, digits, `_`, `-`"
        " and `.`, and begins neither with a digit nor with `..`. A value is a text, or an object"
        " with `secret`, which is stored encrypted, passed to the container and never shown again:"
        " responses have `null` instead. Sending this `null` back keeps the stored secret.",
        "additionalProperties": {
            "oneOf": [
                _TEXT,
                {
                    "type": "object",
                    "properties": {"secret": {**_TEXT, "nullable": True}},
                    "required": ["secret"],
                },
            ]
        },
        "example": {"EPOCHS": "40", "HUB_TOKEN": {"secret": "for the container only"}},
    }
)
class EnvField(serializers.DictField):
    """`env`: environment variables by name; secrets are encrypted at validation."""

    child = serializers.CharField(allow_blank=True, max_length=_MAX_TEXT, trim_whitespace=False)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            return dict(super().to_internal_value(data))
        secrets = {name: value for name, value in data.items() if isinstance(value, dict)}
        self._check_shape(secrets)
        texts = {
            name: value[SECRET] for name, value in secrets.items() if value[SECRET] is not None
        }
        plain = {name: value for name, value in data.items() if name not in secrets}
        env: dict[str, str] = super().to_internal_value({**plain, **texts})
        self._check_names({*env, *secrets})
        kept = {name: {SECRET: None} for name in secrets if name not in texts}
        return {**env, **kept, **{name: seal(env[name]) for name in texts}}

    def to_representation(self, value: Any) -> dict[str, Any]:
        return masked(value)

    def _check_shape(self, secrets: dict[str, dict[str, Any]]) -> None:
        wrong = {
            name: ['Give a text, or {"secret": "…"}.']
            for name, value in secrets.items()
            if set(value) != {SECRET}
        }
        if wrong:
            raise serializers.ValidationError(wrong)

    def _check_names(self, names: set[str]) -> None:
        if len(names) > _MAX_ENTRIES:
            raise serializers.ValidationError(f"Give at most {_MAX_ENTRIES} variables.")
        if wrong := next(filter(None, map(wrong_name, sorted(names))), None):
            raise serializers.ValidationError(wrong)


_VALUES = {
    "type": "array",
    "items": {"type": "string", "maxLength": MAX_VALUE},
    "minItems": 1,
    "maxItems": requirements.MAX_VALUES,
}


def _condition(name: str, value: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: value, **more}, "required": [name]}


def _conditions(description: str, example: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of conditions by label; `more` are properties of those in objects."""
    forms: dict[str, dict[str, Any]] = {"not": _VALUES, "exists": {"type": "boolean"}}
    if more:
        forms["in"] = _VALUES
    objects = [_condition(name, value, more) for name, value in forms.items()]
    return {
        "type": "object",
        "description": description,
        "additionalProperties": {"oneOf": [_VALUES, *objects]},
        "maxProperties": requirements.MAX_LABELS,
        "example": example,
    }


@extend_schema_field(
    _conditions(
        "What the labels of its node must be, by name: one of a list of values, `not` one of them,"
        " or whether the label `exists`.",
        {"gpu.model": ["a100-80gb", "h100"], "spot": {"not": ["true"]}},
    )
)
class RequireField(serializers.Field[dict[str, Any], Any, Any, Any]):
    """`require`: conditions on the labels of its node."""

    weighted = False

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict) or len(data) > requirements.MAX_LABELS:
            raise serializers.ValidationError(
                f"Give an object with conditions for at most {requirements.MAX_LABELS} labels."
            )
        if wrong := requirements.problems(data, weighted=self.weighted):
            raise serializers.ValidationError(wrong)
        return data

    def to_representation(self, value: Any) -> dict[str, Any]:
        return dict(value)


@extend_schema_field(
    _conditions(
        "What decides between nodes if plans are equal otherwise: as `require`, and conditions in"
        " an object may have a `weight`.",
        {"zone": {"in": ["a"], "weight": 5}},
        weight={"type": "integer", "minimum": 1, "maximum": requirements.MAX_WEIGHT, "default": 1},
    )
)
class PreferField(RequireField):
    """`prefer`: conditions on the labels of its node, with weights."""

    weighted = True


class NodeReferenceSerializer(serializers.ModelSerializer[Node]):
    class Meta:
        model = Node
        fields = ["id", "name"]


class DeploymentSerializer(StrictModelSerializer[Deployment]):
    """A deployment. In a request, `cluster` means the same as `requested_cluster`."""

    organization = OrganizationField()
    cpu = CpuField(source="cpu_milli")
    ram_mib = RamField()
    gpu = IntegerField(min_value=0, max_value=MAX_GPU, default=0)
    priority = IntegerField(min_value=1, max_value=100, default=50)
    command = serializers.ListField(
        child=serializers.CharField(allow_blank=True, max_length=_MAX_TEXT),
        max_length=_MAX_ENTRIES,
        default=list,
    )
    env = EnvField(default=dict)
    run_as = RunAsField(allow_null=True, default=None)
    ephemeral_storage_mib = StorageField(allow_null=True, default=None)
    requested_cluster = IntegerField(
        source="requested_cluster_id",
        allow_null=True,
        required=False,
        help_text="Id of the only cluster that it may run on. Null: any cluster of its"
        " organization.",
    )
    require = RequireField(default=dict)
    prefer = PreferField(default=dict)
    cluster = IntegerField(
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
    depends_on = WaitsField(source="dependencies", default=())
    on_dependency_failure = serializers.ChoiceField(
        choices=OnDependencyFailure.choices,
        default=OnDependencyFailure.WAIT,
        help_text="What to do if a dependency ends without satisfying its condition: wait until"
        " someone starts it again, or cancel this deployment.",
    )
    restart_policy = serializers.ChoiceField(
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
            "id", "organization", "name", "image", "command", "env", "run_as", "cpu", "ram_mib",
            "gpu", "ephemeral_storage_mib", "priority", "requested_cluster", "require", "prefer",
            "cluster", "node", "status", "status_reason", "status_code", "held", "max_runtime_s",
            "restart_policy", "max_restarts", "restarts", "depends_on", "on_dependency_failure",
            "preemptions", "exit_code", "created_by", "created_at", "queued_at", "ready_after",
            "placed_at", "started_at", "finished_at", "lost_contact_at",
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


class BulkSerializer(StrictSerializer):
    """Up to 1,000 deployments, each as in `POST /deployments`."""

    deployments = serializers.ListField(
        child=DeploymentSerializer(), allow_empty=False, max_length=1000
    )


class HandOverSerializer(StrictSerializer):
    """The ids of the present and the new submitter; `organization` for members of several."""

    organization = OrganizationField(write_only=True)
    from_user = IntegerField(
        min_value=1, max_value=_MAX_ID, write_only=True, help_text="Id of the present submitter."
    )
    to_user = IntegerField(
        min_value=1, max_value=_MAX_ID, write_only=True, help_text="Id of the new submitter."
    )
    handed_over = serializers.IntegerField(
        read_only=True, help_text="The number of deployments that were handed over."
    )


class SkippedSerializer(serializers.Serializer[Any]):
    """A selected deployment that was not changed."""

    deployment = serializers.IntegerField(help_text="Its id.")
    code = serializers.CharField(
        help_text="Its status if that does not allow the change, `permission_denied`, or `changed`"
        " if it changed during the call."
    )
    reason = serializers.CharField(help_text="Why it was skipped, and what to do about it.")


class SelectionSerializer(serializers.Serializer[Any]):
    """The result for all selected deployments that had not ended."""

    dry_run = serializers.BooleanField(help_text="True if nothing was changed.")
    deployments = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="The ids of the deployments that were changed; in a dry run, that would be.",
    )
    skipped = SkippedSerializer(many=True)
    remaining = serializers.IntegerField(
        help_text="How many deployments are left for another call, because of the `limit`."
    )


class EventSerializer(serializers.ModelSerializer[Event]):
    """An event in the history of a deployment."""

    class Meta:
        model = Event
        fields = ["time", "kind", "actor", "reason", "status", "data"]
