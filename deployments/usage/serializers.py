from typing import Any

from rest_framework import serializers

from clusters.serializers import AmountsSerializer
from hypervisor.rest.schemas import example


class ShareSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField(
        allow_null=True,
        help_text="Of the user who submitted the deployments; null for users who were deleted.",
    )
    username = serializers.CharField(allow_null=True)
    active = serializers.IntegerField(help_text="Deployments that are starting or running.")
    pending = serializers.IntegerField()
    allocated = AmountsSerializer()


@example(
    answer={
        "organization": 1,
        "capacity": {"cpu": 64, "ram_mib": 262144, "gpu": 8},
        "allocated": {"cpu": 8, "ram_mib": 16384, "gpu": 2},
        "active": 1,
        "pending": 0,
        "users": [
            {
                "id": 1,
                "username": "ada",
                "active": 1,
                "pending": 0,
                "allocated": {"cpu": 8, "ram_mib": 16384, "gpu": 2},
            }
        ],
    }
)
class UsageSerializer(serializers.Serializer[Any]):
    organization = serializers.IntegerField()
    capacity = AmountsSerializer(help_text="Of all clusters.")
    allocated = AmountsSerializer()
    active = serializers.IntegerField(help_text="Deployments that are starting or running.")
    pending = serializers.IntegerField()
    users = ShareSerializer(
        many=True,
        help_text="The users with live deployments: those with the most GPUs, then the most CPU,"
        " first; at most 100.",
    )
