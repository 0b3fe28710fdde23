"""How deployments and their events look from outside."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from clusters.fields import CpuField, RamField
from clusters.models import Cluster
from clusters.resources import MAX_GPU
from deployments.dependencies import Wait
from deployments.environment import SECRET, masked, seal, wrong_name
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
    """A list of ids, or of objects with `deployment` and `condition`."""

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
                'Each entry is an id, or {"deployment": id, "condition": "completed" or "running"}.'
            )
        return Wait(deployment, Condition(condition))


_TEXT = {"type": "string", "maxLength": _MAX_TEXT}


@extend_schema_field(
    {
        "type": "object",
        "description": "Names and values of environment variables. A name has letters, digits, `_`,"
        " `-` and `.` only, and begins neither with a digit nor with `..`. A value is a text, or an"
        " object with `secret`: kept encrypted, handed to the container, and never shown again."
        " Answers say `null` in its place; who sends that back keeps the secret that is there.",
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
        "example": {"EPOCHS": "40", "HUB_TOKEN": {"secret": "only the container sees this"}},
    }
)
class EnvField(serializers.DictField):
    """Names and values of environment variables; secrets are encrypted as they come in."""

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


class DeploymentSerializer(StrictModelSerializer[Deployment]):
    """A deployment. In a request, `cluster` is another word for `requested_cluster`."""

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
    requested_cluster = IntegerField(source="requested_cluster_id", allow_null=True, required=False)
    cluster = IntegerField(source="cluster_id", allow_null=True, required=False)
    max_runtime_s = IntegerField(min_value=1, max_value=2**31 - 1, allow_null=True, default=None)
    depends_on = WaitsField(source="dependencies", default=())
    on_dependency_failure = serializers.ChoiceField(
        choices=OnDependencyFailure.choices, default=OnDependencyFailure.WAIT
    )
    restart_policy = serializers.ChoiceField(
        choices=RestartPolicy.choices,
        default=RestartPolicy.NEVER,
        help_text="Whether one that fails by itself is queued again, after 10 seconds at first and"
        " twice as long each time. An eviction or an engine's failure is no failure of its own.",
    )
    max_restarts = IntegerField(
        min_value=1,
        max_value=1000,
        default=3,
        help_text="How often in a row; ten minutes of running begin a new row.",
    )
    lost_contact_at = serializers.DateTimeField(
        source="cluster.connection.lost_contact_at",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Since when the engine that it is on has not answered; null while it does.",
    )

    class Meta:
        model = Deployment
        fields = [
            "id", "organization", "name", "image", "command", "env", "cpu", "ram_mib", "gpu",
            "priority", "requested_cluster", "cluster", "status", "status_reason", "status_code",
            "held", "max_runtime_s", "restart_policy", "max_restarts", "restarts", "depends_on",
            "on_dependency_failure", "preemptions", "exit_code", "created_by", "created_at",
            "queued_at", "ready_after", "placed_at", "started_at", "finished_at", "lost_contact_at",
        ]  # fmt: skip
        read_only_fields = [
            "id", "status", "status_reason", "status_code", "held", "restarts", "preemptions",
            "exit_code", "created_by", "created_at", "queued_at", "ready_after", "placed_at",
            "started_at", "finished_at",
        ]  # fmt: skip
        extra_kwargs = {
            "image": {
                "trim_whitespace": False,
                "help_text": "A reference: `[registry/]repository[:tag][@digest]`.",
            },
            "placed_at": {
                "help_text": "When the present placement began, or the last one of an ended"
                " deployment. Null while pending."
            },
            "started_at": {
                "help_text": "When the container of that placement began to run. Null before."
            },
        }

    def validate_image(self, image: str) -> str:
        # What is there already may come back.
        if self.instance is None or image != self.instance.image:
            try:
                check_reference(image)
            except ValueError as error:
                raise serializers.ValidationError(str(error)) from error
        return image

    def validate_organization(self, organization_id: int) -> int:
        if self.instance is not None and organization_id != self.instance.organization_id:
            raise serializers.ValidationError(
                "A deployment stays in its organization: leave this out."
            )
        return organization_id

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # `requested_cluster` wins: who sends back what was read means nothing by `cluster`.
        named = "cluster_id" in attrs
        placed = attrs.pop("cluster_id", None)
        if "requested_cluster_id" in attrs:
            attrs["cluster_field"] = "requested_cluster"
        elif named or not self.partial:
            attrs |= {"requested_cluster_id": placed, "cluster_field": "cluster"}
        return attrs

    def spec(self, requested_cluster: Cluster | None) -> Spec:
        """Return the specification asked for; what a PATCH leaves out stays as it is."""
        former = Spec.of(self.instance) if self.instance else None
        return Spec.from_fields(self.validated_data, requested_cluster, former)


class BulkSerializer(StrictSerializer):
    """Up to 1,000 deployments, each as in a single submission."""

    deployments = serializers.ListField(
        child=DeploymentSerializer(), allow_empty=False, max_length=1000
    )


class HandOverSerializer(StrictSerializer):
    """From whom to whom, by their ids; the organization only for members of several."""

    organization = OrganizationField(write_only=True)
    from_user = IntegerField(min_value=1, max_value=_MAX_ID, write_only=True)
    to_user = IntegerField(min_value=1, max_value=_MAX_ID, write_only=True)
    handed_over = serializers.IntegerField(read_only=True, help_text="how many deployments")


class SkippedSerializer(serializers.Serializer[Any]):
    deployment = serializers.IntegerField()
    code = serializers.CharField(
        help_text="Its status, or `permission_denied`, or `changed` for one that changed meanwhile."
    )
    reason = serializers.CharField()


class SelectionSerializer(serializers.Serializer[Any]):
    """What became of the deployments that a filter selects and that had not ended."""

    dry_run = serializers.BooleanField(help_text="Whether nothing was changed.")
    deployments = serializers.ListField(
        child=serializers.IntegerField(), help_text="The ids of those changed, or that would be."
    )
    skipped = SkippedSerializer(many=True)
    remaining = serializers.IntegerField(
        help_text="How many more the `limit` has left for another call."
    )


class EventSerializer(serializers.ModelSerializer[Event]):
    class Meta:
        model = Event
        fields = ["time", "kind", "actor", "reason", "status", "data"]
