"""The REST API's view of explanations and dry runs."""

from typing import Any

from rest_framework import serializers

from clusters.fields import CpuField
from hypervisor.rest.schemas import example

_OBSTACLE = {
    "cluster": 3,
    "missing": {"cpu": 0, "ram_mib": 0, "gpu": 1},
    "why": "rack-1: is short of 1 GPU.",
    "nodes": [],
}


class MissingSerializer(serializers.Serializer[Any]):
    """What is missing on a cluster; zero where it has enough."""

    cpu = CpuField(source="cpu_milli", default=0)
    ram_mib = serializers.IntegerField(default=0, min_value=0)
    gpu = serializers.IntegerField(default=0, min_value=0)


class ScatteredSerializer(serializers.Serializer[Any]):
    """Amounts of the resources of which no node has enough."""

    cpu = CpuField(source="cpu_milli", required=False)
    ram_mib = serializers.IntegerField(required=False, min_value=0)
    gpu = serializers.IntegerField(required=False, min_value=0)


class NodeObstacleSerializer(serializers.Serializer[Any]):
    node = serializers.IntegerField()
    name = serializers.CharField()
    missing = MissingSerializer()
    why = serializers.CharField()


class ClusterObstacleSerializer(serializers.Serializer[Any]):
    cluster = serializers.IntegerField()
    missing = MissingSerializer(help_text="On the node that lacks the least.")
    free = ScatteredSerializer(
        required=False,
        help_text="The sum over its nodes of what is free for the deployment. Only if that is"
        " scattered: enough in sum, but on no node.",
    )
    largest = ScatteredSerializer(
        required=False, help_text="With `free`: the most that is free on one node."
    )
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


@example(
    answer={
        "deployment": 8,
        "status": "pending",
        "code": "no_free_capacity",
        "reason": "Needs 4 CPU, 16 GiB RAM, 1 GPU at priority 20. The only cluster that could run"
        " it, rack-1, is short of 1 GPU.",
        "since": "2026-01-05T09:12:00Z",
        "position": 1,
        "queue_length": 1,
        "waits_for": [],
        "clusters": [_OBSTACLE],
        "turn": None,
    }
)
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
        help_text="When it goes first in its level because it has waited long. Null while it takes"
        " no turns: until it has waited that long, or while another one has those of its period.",
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


@example(
    answer={
        "outcome": "preempt",
        "code": "preemption",
        "reason": "Needs 2 CPU, 8 GiB RAM, 1 GPU; placed on rack-1 by preempting 1 deployment below"
        " priority 90.",
        "cluster": 3,
        "node": 5,
        "evictions": [
            {
                "deployment": 7,
                "priority": 20,
                "cluster": 3,
                "node": 5,
                "reason": "Preempted on rack-1 at priority 20 for deployment 0 at priority 90.",
            }
        ],
        "moves": [],
        "clusters": [],
    }
)
class DryRunSerializer(serializers.Serializer[Any]):
    outcome = serializers.ChoiceField(choices=["run", "preempt", "wait"])
    code = serializers.CharField()
    reason = serializers.CharField()
    cluster = serializers.IntegerField(allow_null=True)
    node = serializers.IntegerField(allow_null=True)
    evictions = EvictionSerializer(many=True)
    moves = MoveSerializer(many=True)
    clusters = ClusterObstacleSerializer(many=True)
