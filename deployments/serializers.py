"""How deployments and their events look from outside."""

from dataclasses import replace
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api import StrictModelSerializer
from clusters.fields import CpuField, RamField
from clusters.models import Cluster
from clusters.resources import MAX_GPU
from deployments.dependencies import Wait
from deployments.models import Condition, Deployment, OnDependencyFailure
from deployments.specs import Spec
from orgs.models import Event

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


class EnvField(serializers.DictField):
    """Names and values of environment variables."""

    child = serializers.CharField(allow_blank=True, max_length=_MAX_TEXT)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        env: dict[str, str] = super().to_internal_value(data)
        bad = [name for name in env if not name or "=" in name or not name.isprintable()]
        if bad or len(env) > _MAX_ENTRIES:
            raise serializers.ValidationError(
                f"At most {_MAX_ENTRIES} variables; a name is not empty, is printable and holds"
                " no '='."
            )
        return env


class DeploymentSerializer(StrictModelSerializer[Deployment]):
    """A deployment. In a request, `cluster` is another word for `requested_cluster`."""

    organization = serializers.IntegerField(source="organization_id", required=False)
    cpu = CpuField(source="cpu_milli")
    ram_mib = RamField()
    gpu = serializers.IntegerField(min_value=0, max_value=MAX_GPU, default=0)
    priority = serializers.IntegerField(min_value=1, max_value=100, default=50)
    command = serializers.ListField(
        child=serializers.CharField(allow_blank=True, max_length=_MAX_TEXT),
        max_length=_MAX_ENTRIES,
        default=list,
    )
    env = EnvField(default=dict)
    requested_cluster = serializers.IntegerField(
        source="requested_cluster_id", allow_null=True, required=False
    )
    cluster = serializers.IntegerField(source="cluster_id", allow_null=True, required=False)
    max_runtime_s = serializers.IntegerField(
        min_value=1, max_value=2**31 - 1, allow_null=True, default=None
    )
    depends_on = WaitsField(source="dependencies", default=())
    on_dependency_failure = serializers.ChoiceField(
        choices=OnDependencyFailure.choices, default=OnDependencyFailure.WAIT
    )

    class Meta:
        model = Deployment
        fields = [
            "id", "organization", "name", "image", "command", "env", "cpu", "ram_mib", "gpu",
            "priority", "requested_cluster", "cluster", "status", "status_reason", "held",
            "max_runtime_s", "depends_on", "on_dependency_failure", "preemptions", "exit_code",
            "created_by", "created_at", "queued_at", "started_at", "finished_at",
        ]  # fmt: skip
        read_only_fields = [
            "id", "status", "status_reason", "held", "preemptions", "exit_code", "created_by",
            "created_at", "queued_at", "started_at", "finished_at",
        ]  # fmt: skip

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
        if "requested_cluster_id" not in attrs and (named or not self.partial):
            attrs["requested_cluster_id"] = placed
        return attrs

    def spec(self, requested_cluster: Cluster | None) -> Spec:
        """Return the specification asked for; what a PATCH leaves out stays as it is."""
        given = {
            name: value
            for name, value in self.validated_data.items()
            if name not in ("organization_id", "requested_cluster_id", "dependencies", "command")
        }
        if "dependencies" in self.validated_data:
            given["depends_on"] = tuple(self.validated_data["dependencies"])
        if "command" in self.validated_data:
            given["command"] = tuple(self.validated_data["command"])
        given["requested_cluster"] = requested_cluster
        return replace(Spec.of(self.instance), **given) if self.instance else Spec(**given)


class EventSerializer(serializers.ModelSerializer[Event]):
    class Meta:
        model = Event
        fields = ["time", "kind", "actor", "reason", "status", "data"]
