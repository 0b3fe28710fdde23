"""The REST representation of clusters."""

from typing import Any

from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import serializers

from clusters.fields import CpuField, RamField
from clusters.models import DIMENSIONS, Cluster
from clusters.resources import MAX_GPU, cores
from clusters.services import Capacity
from hypervisor.rest.serializers import IntegerField, StrictModelSerializer
from orgs.serializers import OrganizationField

_AMOUNTS = inline_serializer(
    "Amounts",
    {
        "cpu": serializers.FloatField(help_text="Cores."),
        "ram_mib": serializers.IntegerField(),
        "gpu": serializers.IntegerField(),
    },
)


class ClusterSerializer(StrictModelSerializer[Cluster]):
    """A cluster with its allocated and free amounts; needs a row of `with_allocated()`."""

    organization = OrganizationField()
    cpu = CpuField(source="cpu_milli")
    ram_mib = RamField()
    gpu = IntegerField(min_value=0, max_value=MAX_GPU, default=0)
    allocated = serializers.SerializerMethodField()
    available = serializers.SerializerMethodField()
    lost_contact_at = serializers.DateTimeField(
        source="connection.lost_contact_at",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Since when its engine has not answered; null while it answers.",
    )

    class Meta:
        model = Cluster
        fields = [
            "id", "organization", "name", "cpu", "ram_mib", "gpu", "allocated", "available",
            "state", "driver", "lost_contact_at", "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "state", "driver", "created_at"]

    @extend_schema_field(_AMOUNTS)
    def get_allocated(self, cluster: Cluster) -> dict[str, Any]:
        return _amounts(*(getattr(cluster, f"allocated_{name}") for name in DIMENSIONS))

    @extend_schema_field(_AMOUNTS)
    def get_available(self, cluster: Cluster) -> dict[str, Any]:
        return _amounts(
            *(getattr(cluster, name) - getattr(cluster, f"allocated_{name}") for name in DIMENSIONS)
        )

    def validate_organization(self, organization_id: int) -> int:
        if self.instance is not None and organization_id != self.instance.organization_id:
            raise serializers.ValidationError("A cluster cannot change its organization.")
        return organization_id

    def capacity(self) -> Capacity:
        """Return the requested capacity; amounts that a PATCH omits stay as they are."""
        given = self.validated_data
        if self.instance is not None:
            given = Capacity.of(self.instance).columns() | given
        return Capacity(*(given[name] for name in DIMENSIONS))


def _amounts(cpu_milli: int, ram_mib: int, gpu: int) -> dict[str, Any]:
    return {"cpu": cores(cpu_milli), "ram_mib": ram_mib, "gpu": gpu}
