"""REST fields of what a container is started with."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

_MAX_ID = 2**31 - 1
"""The largest id of a user that every engine accepts."""

_ID = {"type": "integer", "minimum": 0, "maximum": _MAX_ID}


@extend_schema_field(
    {
        "description": "The user that its processes run as: an id, or an object with `uid` and"
        " `gid`. Without a `gid`, the group is the one that the image gives this user, otherwise 0."
        " 0 is root, which some clusters refuse. Null: the user of the image.",
        "oneOf": [
            {
                "type": "object",
                "properties": {"uid": _ID, "gid": {**_ID, "nullable": True}},
                "required": ["uid"],
                "nullable": True,
            },
            _ID,
        ],
        "example": {"uid": 1000, "gid": 1000},
    }
)
class RunAsField(serializers.Field[dict[str, int | None], Any, Any, Any]):
    """`run_as`: the ids of the user and the group that the processes of the container run as."""

    def to_internal_value(self, data: Any) -> dict[str, int | None]:
        given = {"uid": data} if _is_id(data) else data
        if not isinstance(given, dict) or set(given) - {"uid", "gid"} or "uid" not in given:
            raise serializers.ValidationError(
                f'Give the id of a user, from 0 to {_MAX_ID}, or {{"uid": id, "gid": id}}. Names'
                " are not accepted, because only the image knows them."
            )
        uid, gid = given["uid"], given.get("gid")
        wrong = {
            name: [f"Give a whole number from 0 to {_MAX_ID}."]
            for name, value in (("uid", uid), ("gid", gid))
            if not _is_id(value) and not (name == "gid" and value is None)
        }
        if wrong:
            raise serializers.ValidationError(wrong)
        return {"uid": uid, "gid": gid}

    def to_representation(self, value: Any) -> dict[str, int | None]:
        return dict(value)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_ID
