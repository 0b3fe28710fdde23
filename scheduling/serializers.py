"""The REST API's view of explanations and dry runs."""

from typing import Any

from rest_framework import serializers

from clusters.fields import CpuField


class MissingSerializer(serializers.Serializer[Any]):
    """What is missing on a cluster; zero where it has enough."""

    cpu = CpuField(source="cpu_milli", default=0)
    ram_mib = serializers.IntegerField(default=0)
    gpu = serializers.IntegerField(default=0)


class NodeObstacleSerializer(serializers.Serializer[Any]):
    node = serializers.IntegerField()
    name = serializers.CharField()
    missing = MissingSerializer()
    why = serializers.CharField()


class ClusterObstacleSerializer(serializers.Serializer[Any]):
    cluster = serializers.IntegerField()
    missing = MissingSerializer(help_text="On the node that lacks the least.")
    why = serializers.SerializerMethodField()
    nodes = NodeObstacleSerializer(
        many=True,
        default=list,
        help_text="The nodes that lack the least; empty for a cluster of one node.",
    )

    def get_why(self, row: dict[str, Any]) -> str:
        return f"{row['name']}: {row['why']}."


class TurnSerializer(serializers.Serializer[Any]):
    begins = serializers.DateTimeField(allow_null=True, help_text="null during the turn")
    ends = serializers.DateTimeField(allow_null=True, help_text="null before the turn")


class ExplanationSerializer(serializers.Serializer[Any]):
    deployment = serializers.IntegerField()
    status = serializers.CharField()
    code = serializers.CharField(help_text="for programs")
    reason = serializers.CharField(help_text="for people")
    since = serializers.DateTimeField()
    position = serializers.IntegerField(allow_null=True, help_text="in the queue, from 1")
    queue_length = serializers.IntegerField(allow_null=True)
    waits_for = serializers.ListField(child=serializers.CharField())
    clusters = ClusterObstacleSerializer(many=True)
    turn = TurnSerializer(
        allow_null=True,
        help_text="When it goes first in its level because it has waited long; null if never.",
    )


class EvictionSerializer(serializers.Serializer[Any]):
    deployment = serializers.IntegerField()
    priority = serializers.IntegerField()
    cluster = serializers.IntegerField()
    node = serializers.IntegerField()
    reason = serializers.CharField()


class MoveSerializer(serializers.Serializer[Any]):
    deployment = serializers.IntegerField()
    priority = serializers.IntegerField()
    source = serializers.IntegerField()  # type: ignore[assignment]
    source_node = serializers.IntegerField(source="node")
    target = serializers.IntegerField()
    target_node = serializers.IntegerField()
    reason = serializers.CharField()


class DryRunSerializer(serializers.Serializer[Any]):
    outcome = serializers.ChoiceField(choices=["run", "preempt", "wait"])
    code = serializers.CharField()
    reason = serializers.CharField()
    cluster = serializers.IntegerField(allow_null=True)
    node = serializers.IntegerField(allow_null=True)
    evictions = EvictionSerializer(many=True)
    moves = MoveSerializer(many=True)
    clusters = ClusterObstacleSerializer(many=True)
