"""The REST representation of clusters and of their nodes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from clusters import labels as label_rules
from clusters.capacity import NOTHING, Capacity
from clusters.examples import CLUSTER, LABELS, NEW_NODE, NODE
from clusters.fields import CpuField, RamField
from clusters.models import DIMENSIONS, Cluster, Node
from clusters.nodes import MAX_NODES, NodeSpec
from clusters.resources import MAX_GPU, cores
from hypervisor.base.names import TextSerializerField
from hypervisor.rest.schemas import Described, example
from hypervisor.rest.serializers import IntegerField, StrictModelSerializer, StrictSerializer
from orgs.serializers import OrganizationField


class AmountsSerializer(serializers.Serializer[Any]):
    cpu = serializers.FloatField(help_text="Cores.")
    ram_mib = serializers.IntegerField()
    gpu = serializers.IntegerField()

    def to_representation(self, amounts: Capacity) -> dict[str, Any]:
        return _amounts(amounts)


class LabelsField(Described, serializers.DictField):
    """`labels` of a node."""

    most: ClassVar = label_rules.MAX_LABELS
    body_schema = answer_schema = {
        "type": "object",
        "description": "Texts by name, in the form of Kubernetes' labels. Deployments may require"
        " them.",
        "additionalProperties": {
            "type": "string",
            "maxLength": label_rules.MAX_VALUE,
            "pattern": f"^{label_rules.VALUE}$",
        },
        "maxProperties": label_rules.MAX_LABELS,
        "example": LABELS,
    }

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if not isinstance(data, dict) or len(data) > self.most:
            raise serializers.ValidationError(f"Give an object with at most {self.most} labels.")
        if wrong := label_rules.problems(data):
            raise serializers.ValidationError(wrong)
        return dict(data)


def _check_name(name: str) -> str:
    if wrong := label_rules.wrong_name(name):
        raise serializers.ValidationError(wrong)
    return name


@example(
    body={key: value for key, value in NEW_NODE.items() if key != "count"},
    change={"labels": LABELS},
    answer=NODE,
)
class NodeSerializer(StrictModelSerializer[Node]):
    """A node with its allocated and free amounts."""

    # Needs a row of `with_allocated()`.
    cluster = serializers.IntegerField(source="cluster_id", read_only=True)
    cpu = CpuField(source="cpu_milli")
    ram_mib = RamField()
    gpu = IntegerField(min_value=0, max_value=MAX_GPU, default=0)
    labels = LabelsField(default=dict)
    allocated = serializers.SerializerMethodField()
    available = serializers.SerializerMethodField()
    foreign = serializers.SerializerMethodField(
        help_text="What the engine has given to others; not part of the node's capacity."
    )
    engine_message = serializers.CharField(
        read_only=True, help_text="Why the engine keeps deployments off the node; empty otherwise."
    )
    lost_contact_at = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Since when the node's engine has not answered; null while it answers.",
    )

    class Meta:
        model = Node
        fields = [
            "id", "cluster", "name", "cpu", "ram_mib", "gpu", "labels", "allocated", "available",
            "foreign", "state", "engine_message", "lost_contact_at", "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "state", "created_at"]

    @extend_schema_field(AmountsSerializer)
    def get_allocated(self, node: Node) -> dict[str, Any]:
        return _amounts(Capacity.allocated_on(node))

    @extend_schema_field(AmountsSerializer)
    def get_available(self, node: Node) -> dict[str, Any]:
        return _amounts(Capacity.free_on(node))

    @extend_schema_field(AmountsSerializer)
    def get_foreign(self, node: Node) -> dict[str, Any]:
        return _amounts(Capacity(*(node.foreign.get(name, 0) for name in DIMENSIONS)))

    def validate_name(self, name: str) -> str:
        return _check_name(name)

    def spec(self) -> NodeSpec:
        """Return the requested node; what a PATCH omits stays as it is."""
        given = dict(self.validated_data)
        if self.instance is not None:
            node = self.instance
            former = Capacity.of(node).columns() | {"name": node.name, "labels": node.labels}
            given = former | given
        return _spec(given)


class NewNodeSerializer(StrictSerializer):
    """A node of a new cluster, or `count` equal ones."""

    name = TextSerializerField(
        max_length=label_rules.MAX_NAME,
        help_text="Lower-case letters, digits, `-` and `.`. With a `count`, the nodes are called"
        " `name-1`, `name-2` and so on.",
    )
    cpu = CpuField(source="cpu_milli")
    ram_mib = RamField()
    gpu = IntegerField(min_value=0, max_value=MAX_GPU, default=0)
    labels = LabelsField(default=dict)
    count = IntegerField(min_value=1, max_value=MAX_NODES, required=False)

    def validate_name(self, name: str) -> str:
        return _check_name(name)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        most = label_rules.MAX_NAME - len(f"-{attrs['count']}") if "count" in attrs else None
        if most is not None and len(attrs["name"]) > most:
            raise serializers.ValidationError(
                {"name": f"Give at most {most} characters, because `count` adds a number to them."}
            )
        return attrs


class NodesField(serializers.Field[Any, Any, Any, Any]):
    """`nodes` of a cluster: the list of them in a POST, their number in a response."""

    def to_internal_value(self, data: Any) -> list[NodeSpec]:
        if self.root.instance is not None:
            if isinstance(data, int):
                return []  # The number that a response has, sent back.
            raise serializers.ValidationError(
                "The nodes of an existing cluster are added, changed and deleted at"
                f" /clusters/{self.root.instance.pk}/nodes."
            )
        rows = serializers.ListField(
            child=NewNodeSerializer(), allow_empty=False, max_length=MAX_NODES
        )
        given = rows.run_validation(data)
        if sum(row.get("count", 1) for row in given) > MAX_NODES:
            raise serializers.ValidationError(f"A cluster has at most {MAX_NODES:,} nodes.")
        specs = [spec for row in given for spec in _specs(row)]
        [(name, times)] = Counter(spec.name for spec in specs).most_common(1)
        if times > 1:
            raise serializers.ValidationError(
                f"{times} nodes would be named {name}: give each another name, or equal ones a"
                " `count`.",
                code="unique",
            )
        return specs

    def to_representation(self, value: Any) -> int:
        return len(value.all())


class NodesFieldSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = NodesField

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        if direction == "response":
            return {"type": "integer", "description": "The number of nodes."}
        new = auto_schema.resolve_serializer(NewNodeSerializer, direction)
        return {
            "type": "array",
            "items": new.ref,
            "minItems": 1,
            "maxItems": MAX_NODES,
            "description": "The nodes of a new cluster, instead of `cpu`, `ram_mib` and `gpu`.",
        }


@example(
    body={"name": "rack-1", "nodes": [NEW_NODE]},
    answer=CLUSTER,
)
class ClusterSerializer(StrictModelSerializer[Cluster]):
    """A cluster with its allocated and free amounts."""

    # Needs a row of `with_allocated()` and `with_nodes()`.
    organization = OrganizationField()
    cpu = CpuField(source="cpu_milli", required=False)
    ram_mib = RamField(required=False)
    gpu = IntegerField(min_value=0, max_value=MAX_GPU, default=0)
    nodes = NodesField(required=False)
    allocated = serializers.SerializerMethodField()
    available = serializers.SerializerMethodField()
    largest_free = serializers.SerializerMethodField(
        help_text="What is free on the node with the most free GPUs, then RAM, then CPU: a request"
        " runs on one node. Zero if no node takes deployments."
    )
    lost_contact_at = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Since when its engine, or one of its engines, has not answered; null while all"
        " answer.",
    )

    class Meta:
        model = Cluster
        fields = [
            "id", "organization", "name", "cpu", "ram_mib", "gpu", "nodes", "allocated",
            "available", "largest_free", "state", "driver", "lost_contact_at", "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "state", "driver", "created_at"]

    @extend_schema_field(AmountsSerializer)
    def get_allocated(self, cluster: Cluster) -> dict[str, Any]:
        return _amounts(Capacity.allocated_on(cluster))

    @extend_schema_field(AmountsSerializer)
    def get_available(self, cluster: Cluster) -> dict[str, Any]:
        return _amounts(Capacity.free_on(cluster))

    @extend_schema_field(AmountsSerializer)
    def get_largest_free(self, cluster: Cluster) -> dict[str, Any]:
        active = [n for n in cluster.nodes.all() if n.state == Node.State.ACTIVE]
        free = map(Capacity.free_on, active if cluster.takes_deployments else ())
        return _amounts(max(free, key=Capacity.by_size, default=NOTHING))

    def validate_organization(self, organization_id: int) -> int:
        if self.instance is not None and organization_id != self.instance.organization_id:
            raise serializers.ValidationError("A cluster cannot change its organization.")
        return organization_id

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        amounts = {"cpu", "ram_mib", "gpu"} & set(self.initial_data)
        if attrs.get("nodes") and amounts:
            raise serializers.ValidationError(
                {"nodes": "Give either `nodes`, or `cpu`, `ram_mib` and `gpu` for a single node."}
            )
        missing = [name for name in ("cpu", "ram_mib") if name not in self.initial_data]
        if missing and not attrs.get("nodes") and not self.partial:
            required = serializers.Field.default_error_messages["required"]
            raise serializers.ValidationError(dict.fromkeys(missing, required), code="required")
        return attrs

    def specs(self) -> Sequence[NodeSpec]:
        """Return the requested nodes of a new cluster."""
        given = self.validated_data
        return given.get("nodes") or [NodeSpec.only(given["name"], self.capacity())]

    def capacity(self) -> Capacity:
        """Return the requested capacity; amounts that a PATCH omits stay as they are."""
        given = self.validated_data
        if self.instance is not None:
            given = Capacity.of(self.instance).columns() | given
        return _capacity(given)


@extend_schema_serializer(exclude_fields=["nodes"])
@example(body={"name": "rack-1", "cpu": 16, "ram_mib": "64Gi", "gpu": 2}, change={"name": "rack-2"})
class ClusterUpdateSerializer(ClusterSerializer):
    """The name of a cluster, and the capacity of its only node; describes the body of a change."""

    cpu = CpuField(source="cpu_milli")
    ram_mib = RamField()


def _specs(given: Mapping[str, Any]) -> list[NodeSpec]:
    count = given.get("count")
    return [_spec(given)] if count is None else _spec(given).repeated(count)


def _spec(given: Mapping[str, Any]) -> NodeSpec:
    return NodeSpec(given["name"], _capacity(given), given["labels"])


def _capacity(given: Mapping[str, Any]) -> Capacity:
    return Capacity(*(given[name] for name in DIMENSIONS))


def _amounts(amounts: Capacity) -> dict[str, Any]:
    return {"cpu": cores(amounts.cpu_milli), "ram_mib": amounts.ram_mib, "gpu": amounts.gpu}
