"""The REST API's view of explanations and dry runs."""

from typing import Any

from rest_framework import serializers

from clusters.fields import CpuField
from hypervisor.rest.schemas import example
from scheduling.insight.forecast import CODES
from scheduling.planner.compare import KINDS

_OBSTACLE = {
    "cluster": 3,
    "missing": {"cpu": 0, "ram_mib": 0, "gpu": 1},
    "why": "rack-1: is short of 1 GPU.",
    "nodes": [],
}


_FORECAST = {
    "code": "expected",
    "reason": "Probably starts in about 25 min (09:40 UTC) on rack-1, when train-resnet (7) has"
    " ended; by 11:00 UTC if each runs as long as it may. New submissions may change"
    " that.",
    "expected": "2026-01-05T09:38:10Z",
    "by": "2026-01-05T10:52:00Z",
    "cluster": 3,
    "node": 5,
    "waits_for": [{"deployment": 7, "name": "train-resnet"}],
}
_LOST = "The run time in seconds, since its last checkpoint, that it loses."


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


class AwaitedSerializer(serializers.Serializer[Any]):
    deployment = serializers.IntegerField()
    name = serializers.CharField()


class ForecastSerializer(serializers.Serializer[Any]):
    """When a waiting deployment will probably start. It is no promise: submissions, changes and
    failures may alter it.
    """

    code = serializers.ChoiceField(
        choices=CODES,
        help_text="for programs: `expected`, or why there is no forecast",
    )
    reason = serializers.CharField(help_text="for people", allow_blank=True)
    expected = serializers.DateTimeField(
        allow_null=True,
        help_text="When it starts if deployments run for as long as those of the same users usually"
        " do; null without a forecast.",
    )
    by = serializers.DateTimeField(
        allow_null=True,
        help_text="When it starts if each deployment runs for its whole `max_runtime_s`; null if"
        " one that has to end before has none.",
    )
    cluster = serializers.IntegerField(allow_null=True, help_text="where it starts")
    node = serializers.IntegerField(allow_null=True)
    waits_for = AwaitedSerializer(
        many=True,
        help_text="Deployments that have to end before, at most three. With `unknown_run_time`,"
        " those of whose run times nothing is known.",
    )


class AheadOneSerializer(serializers.Serializer[Any]):
    deployment = serializers.IntegerField()
    name = serializers.CharField()
    priority = serializers.IntegerField()


class AheadSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    first = AheadOneSerializer(many=True, help_text="At most five, in the order of the queue.")


class EvictionSerializer(serializers.Serializer[Any]):
    deployment = serializers.IntegerField()
    name = serializers.CharField()
    priority = serializers.IntegerField()
    cluster = serializers.IntegerField()
    node = serializers.IntegerField()
    lost_s = serializers.IntegerField(help_text=_LOST)
    reason = serializers.CharField()


class MoveSerializer(serializers.Serializer[Any]):
    deployment = serializers.IntegerField()
    name = serializers.CharField()
    priority = serializers.IntegerField()
    source = serializers.IntegerField()  # type: ignore[assignment]
    source_node = serializers.IntegerField(source="node")
    target = serializers.IntegerField()
    target_node = serializers.IntegerField()
    lost_s = serializers.IntegerField(help_text=_LOST)
    reason = serializers.CharField()


@example(
    answer={
        "deployment": 8,
        "status": "pending",
        "code": "no_free_capacity",
        "reason": "Needs 4 CPU, 16 GiB RAM, 1 GPU at priority 20. The only cluster that could run"
        " it, rack-1, is short of 1 GPU.",
        "since": "2026-01-05T09:12:00Z",
        "position": 2,
        "queue_length": 2,
        "ahead": {
            "count": 1,
            "first": [{"deployment": 6, "name": "tune-resnet", "priority": 40}],
        },
        "waits_for": [],
        "clusters": [_OBSTACLE],
        "evictions": [],
        "moves": [],
        "turn": None,
        "forecast": _FORECAST,
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
    ahead = AheadSerializer(
        allow_null=True,
        help_text="What is before it in the queue; null if it does not compete. With the code"
        " `array_limit`, the pending elements of its array that are before it.",
    )
    waits_for = serializers.ListField(child=serializers.CharField())
    clusters = ClusterObstacleSerializer(many=True)
    evictions = EvictionSerializer(
        many=True, help_text="Those that the next cycle evicts for this deployment."
    )
    moves = MoveSerializer(
        many=True, help_text="Those that the next cycle moves for this deployment."
    )
    turn = TurnSerializer(
        allow_null=True,
        help_text="When it goes first in its level because it has waited long. Null while it takes"
        " no turns: until it has waited that long, or while another one has those of its period.",
    )
    forecast = ForecastSerializer(allow_null=True, help_text="null if it does not compete")


class StartSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(min_value=0, help_text="of the element")
    cluster = serializers.IntegerField()
    node = serializers.IntegerField()
    code = serializers.CharField(help_text="for programs")
    reason = serializers.CharField(help_text="for people")


class ElementsWaitSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="How many elements wait with this code.")
    code = serializers.CharField(help_text="for programs")
    reason = serializers.CharField(help_text="Why the first of them waits, for people.")


class DryRunOfElementsSerializer(serializers.Serializer[Any]):
    """What the next cycle would do with the elements of an array."""

    size = serializers.IntegerField()
    at_once = serializers.IntegerField(allow_null=True)
    starting = serializers.IntegerField(help_text="How many of its elements start.")
    waiting = serializers.IntegerField(help_text="How many of its elements wait.")
    evicted = serializers.IntegerField(help_text="How many deployments are evicted for them.")
    moved = serializers.IntegerField(help_text="How many deployments are moved for them.")
    starts = StartSerializer(many=True, help_text="The first ten elements that start.")
    waits = ElementsWaitSerializer(
        many=True, help_text="Why the others wait: a row for each code, in the order of the index."
    )


_VICTIM = {
    "deployment": 7,
    "name": "train-resnet",
    "priority": 20,
    "cluster": 3,
    "node": 5,
    "lost_s": 5400,
    "reason": "Preempted on rack-1 at priority 20 for deployment 8 at priority 90.",
}
_PREEMPTS = (
    "Needs 2 CPU, 8 GiB RAM, 1 GPU; placed on rack-1 by preempting 1 deployment below priority 90."
)
_DRY_RUN = {
    "outcome": "preempt",
    "code": "preempting",
    "reason": _PREEMPTS,
    "cluster": 3,
    "node": 5,
    "evictions": [_VICTIM],
    "moves": [],
    "clusters": [],
    "forecast": None,
}
_DRY_RUN_OF_ARRAY = {
    **_DRY_RUN,
    "reason": f"1 of 200 elements starts, the others wait. The first: {_PREEMPTS}",
    "array": {
        "size": 200,
        "at_once": 1,
        "starting": 1,
        "waiting": 199,
        "evicted": 1,
        "moved": 0,
        "starts": [
            {"index": 0, "cluster": 3, "node": 5, "code": "preempting", "reason": _PREEMPTS}
        ],
        "waits": [
            {
                "count": 199,
                "code": "array_limit",
                "reason": "Its array runs at most one element at once: waits until another one has"
                " ended.",
            }
        ],
    },
}


@example(answer=_DRY_RUN, Array=_DRY_RUN_OF_ARRAY)
class DryRunSerializer(serializers.Serializer[Any]):
    """What the next cycle would do with a submission. Of an array, `array` says what it would do
    with its elements; `outcome` and the lists are about all of them.
    """

    outcome = serializers.ChoiceField(
        choices=["run", "preempt", "wait"],
        help_text="`run` and `preempt`: it starts; of an array, at least one element does."
        " `preempt`: others are evicted or moved for it.",
    )
    code = serializers.CharField(
        help_text="Of an array, that of the first element that starts, or else of the first."
    )
    reason = serializers.CharField(help_text="for people")
    cluster = serializers.IntegerField(
        allow_null=True,
        help_text="Where it starts; of an array, where the first element that starts does.",
    )
    node = serializers.IntegerField(allow_null=True)
    evictions = EvictionSerializer(
        many=True,
        help_text="Those evicted for it; for an array, at most 100 of the highest priorities.",
    )
    moves = MoveSerializer(
        many=True,
        help_text="Those moved for it; for an array, at most 100 of the highest priorities.",
    )
    clusters = ClusterObstacleSerializer(
        many=True, help_text="What is missing on each cluster if it waits for capacity."
    )
    forecast = ForecastSerializer(
        allow_null=True,
        help_text="When it would probably start if it waits in the queue; null otherwise, and of"
        " an array.",
    )
    array = DryRunOfElementsSerializer(required=False, help_text="Only in the dry run of an array.")


_EFFECT = {
    "deployment": 7,
    "name": "train-resnet",
    "organization": 1,
    "priority": 20,
    "kind": "evicted",
    "source": 3,
    "source_node": 5,
    "source_name": "rack-1",
    "target": None,
    "target_node": None,
    "target_name": "",
    "preemptor": 8,
    "lost_s": 5400,
    "code": "preempted",
    "reason": "Preempted on rack-1 at priority 20 for deployment 8 at priority 90.",
}
PREVIEW = {
    "consequences": [
        _EFFECT,
        {
            **_EFFECT,
            **dict.fromkeys(("source", "source_node", "preemptor", "lost_s")),
            "deployment": 8,
            "name": "fraud-check",
            "priority": 90,
            "kind": "starts",
            "source_name": "",
            "target": 3,
            "target_node": 5,
            "target_name": "rack-1",
            "code": "preempting",
            "reason": "Needs 2 CPU, 8 GiB RAM, 1 GPU; placed on rack-1 by preempting 1 deployment"
            " below priority 90.",
        },
    ],
    "count": 2,
    "dependents": [],
    "anyway": 0,
    "begins_by": "2026-01-05T09:12:30Z",
}


class ConsequenceSerializer(serializers.Serializer[Any]):
    """What happens to a deployment because of a change."""

    deployment = serializers.IntegerField(source="consequence.deployment")
    name = serializers.CharField(allow_null=True, help_text="null if it was deleted meanwhile")
    organization = serializers.IntegerField()
    priority = serializers.IntegerField(source="consequence.priority")
    kind = serializers.ChoiceField(
        choices=KINDS,
        source="consequence.kind",
        help_text="`withdrawn`: it leaves the queue or its place because the call ends it, holds it"
        " or sends it into a back-off; `restarts`: on the same node; `stays`: it keeps the place"
        " that it would lose without the call; `waits`: it does not start, and has no place.",
    )
    source = serializers.IntegerField(  # type: ignore[assignment]
        source="consequence.source", allow_null=True, help_text="the cluster that it is on now"
    )
    source_node = serializers.IntegerField(source="consequence.source_node", allow_null=True)
    source_name = serializers.CharField(help_text="for people; empty for none")
    target = serializers.IntegerField(
        source="consequence.target",
        allow_null=True,
        help_text="the cluster that it is on after the next cycle",
    )
    target_node = serializers.IntegerField(source="consequence.target_node", allow_null=True)
    target_name = serializers.CharField(help_text="for people; empty for none")
    preemptor = serializers.IntegerField(
        source="consequence.for_",
        allow_null=True,
        help_text="the deployment for which it is evicted or moved",
    )
    lost_s = serializers.IntegerField(
        allow_null=True,
        help_text="The run time in seconds, since its last checkpoint, that it loses; null if it"
        " loses no place.",
    )
    code = serializers.CharField(source="consequence.code", help_text="for programs")
    reason = serializers.CharField(source="consequence.reason", help_text="for people")


class DependentSerializer(serializers.Serializer[Any]):
    deployment = serializers.IntegerField()
    on = serializers.IntegerField(
        help_text="the deployment that the call ends, or one that is cancelled because of it"
    )
    cancelled = serializers.BooleanField(help_text="false: it keeps waiting")


class PreviewSerializer(serializers.Serializer[Any]):
    """What the next cycle would do because of a call."""

    consequences = ConsequenceSerializer(
        many=True,
        source="effects",
        help_text="At most 1,000, the worst first. What happens anyway is left out, and so is each"
        " deployment that waits with and without the call.",
    )
    count = serializers.IntegerField(help_text="of all consequences")
    dependents = DependentSerializer(
        many=True,
        help_text="Pending deployments that depend on one that the call ends, directly or through"
        " others that are cancelled.",
    )
    anyway = serializers.IntegerField(
        help_text="How many deployments the next cycle places, evicts or moves without the call."
    )
    begins_by = serializers.DateTimeField(
        allow_null=True,
        help_text="When the next cycle begins at the latest. The call itself requests it at once;"
        " null if the call requests none.",
    )


@example(answer={"preview": PREVIEW})
class OnlyPreviewSerializer(serializers.Serializer[Any]):
    """The answer of the dry run of a call whose own answer has no body."""

    preview = PreviewSerializer()
