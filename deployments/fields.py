"""REST fields of deployments that have a form of their own."""

from typing import Any, ClassVar

from rest_framework import serializers

from clusters.labels import MAX_VALUE
from clusters.serializers import LabelsField as LabelsOfNodesField
from deployments import requirements
from deployments.choices import Condition
from deployments.dependencies import Wait
from deployments.environment import SECRET, masked, seal, wrong_name
from deployments.labels import MAX_LABELS
from hypervisor.base.names import TextSerializerField
from hypervisor.rest.schemas import NAME, Described, closed
from hypervisor.rest.serializers import MAX_ID

MAX_ENTRIES = 100
MAX_TEXT = 4096

_MAX_USER_ID = 2**31 - 1
"""The largest id of a user that every engine accepts."""

_ID = {"type": "integer", "minimum": 0, "maximum": _MAX_USER_ID}


_TEXT = {"type": "string", "maxLength": MAX_TEXT}
_WAIT = {
    "deployment": {"type": "integer", "minimum": 1, "maximum": MAX_ID},
    "condition": {
        NAME: "DependencyCondition",
        "type": "string",
        "enum": Condition.values,
        "default": Condition.COMPLETED.value,
    },
}
_IDS = {"uid": _ID, "gid": {**_ID, "nullable": True}}

_MEANING = (
    "The user that its processes run as{}. Without a `gid`, the group is the one that the image"
    " gives this user, otherwise 0. 0 is root, which some clusters refuse. Null: the user of the"
    " image."
)


class RunAsField(Described, serializers.Field[dict[str, int | None], Any, Any, Any]):
    """`run_as`: the ids of the user and the group that the processes of the container run as."""

    keys = tuple(_IDS)
    body_schema = {
        "description": _MEANING.format(": an id, or an object with `uid` and `gid`"),
        "oneOf": [closed("RunAsRequest", _IDS, "gid"), _ID],
        "example": {"uid": 1000, "gid": 1000},
    }
    answer_schema = {
        "description": _MEANING.format(""),
        "allOf": [{NAME: "RunAs", "type": "object", "properties": _IDS, "required": [*_IDS]}],
    }

    def to_internal_value(self, data: Any) -> dict[str, int | None]:
        given = {"uid": data} if _is_id(data) else data
        if not isinstance(given, dict) or set(given) - {"uid", "gid"} or "uid" not in given:
            raise serializers.ValidationError(
                f"Give the id of a user, from 0 to {_MAX_USER_ID}, or"
                ' {"uid": id, "gid": id}. Names are not accepted, because only the image knows'
                " them."
            )
        uid, gid = given["uid"], given.get("gid")
        wrong = {
            name: [f"Give a whole number from 0 to {_MAX_USER_ID}."]
            for name, value in (("uid", uid), ("gid", gid))
            if not _is_id(value) and not (name == "gid" and value is None)
        }
        if wrong:
            raise serializers.ValidationError(wrong)
        return {"uid": uid, "gid": gid}

    def to_representation(self, value: Any) -> dict[str, int | None]:
        return dict(value)


class WaitsField(Described, serializers.Field[tuple[Wait, ...], Any, Any, Any]):
    """`depends_on`: a list of ids, or of objects with `deployment` and `condition`."""

    body_schema = {
        "type": "array",
        "items": {
            "oneOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_ID},
                closed("DependencyRequest", _WAIT, "condition"),
            ]
        },
        "maxItems": MAX_ENTRIES,
        "example": [{"deployment": 7, "condition": "completed"}],
    }
    answer_schema = {
        "type": "array",
        "items": {NAME: "Dependency", "type": "object", "properties": _WAIT, "required": [*_WAIT]},
    }

    def to_internal_value(self, data: Any) -> tuple[Wait, ...]:
        if not isinstance(data, list) or len(data) > MAX_ENTRIES:
            raise serializers.ValidationError(f"Give a list of at most {MAX_ENTRIES} entries.")
        return tuple(self._wait(entry) for entry in data)

    def get_attribute(self, instance: Any) -> Any:
        """Return the dependencies. If they are known, no manager is made for each row."""
        known = getattr(instance, "_prefetched_objects_cache", {}).get(self.source)
        return instance.dependencies.all() if known is None else known

    def to_representation(self, value: Any) -> list[dict[str, Any]]:
        return [{"deployment": wait.on_id, "condition": wait.condition} for wait in value]

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


_ENV = (
    "Environment variables by name. A name has only letters, digits, `_`, `-` and `.`, and begins"
    " neither with a digit nor with `..`. A value is a text, or an object with `secret`"
)


class EnvField(Described, serializers.DictField):
    """`env`: environment variables by name; secrets are encrypted at validation."""

    body_schema = {
        "type": "object",
        "description": f"{_ENV}, which is stored encrypted, passed to the container and never shown"
        " again: responses have `null` instead. Sending this `null` back keeps the stored secret.",
        "additionalProperties": {
            "oneOf": [_TEXT, closed("SecretRequest", {SECRET: {**_TEXT, "nullable": True}})]
        },
        "maxProperties": MAX_ENTRIES,
        "example": {"EPOCHS": "40", "HUB_TOKEN": {SECRET: "for the container only"}},
    }
    answer_schema = {
        "type": "object",
        "description": f"{_ENV} that is null, because secrets are not shown.",
        "additionalProperties": {
            "oneOf": [
                {"type": "string"},
                {
                    NAME: "MaskedSecret",
                    "type": "object",
                    "properties": {SECRET: {"type": "string", "nullable": True}},
                    "required": [SECRET],
                },
            ]
        },
    }

    child = TextSerializerField(allow_blank=True, max_length=MAX_TEXT, trim_whitespace=False)

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
        if len(names) > MAX_ENTRIES:
            raise serializers.ValidationError(f"Give at most {MAX_ENTRIES} variables.")
        if wrong := next(filter(None, map(wrong_name, sorted(names))), None):
            raise serializers.ValidationError(wrong)


class LabelsField(LabelsOfNodesField):
    """`labels` of a deployment."""

    most: ClassVar = MAX_LABELS
    body_schema = answer_schema = {
        **LabelsOfNodesField.body_schema,
        "description": "Texts by name, in the form of Kubernetes' labels, to find deployments by:"
        " lists and calls on many deployments filter by them.",
        "maxProperties": MAX_LABELS,
        "example": {"team": "vision", "run": "42"},
    }


_VALUES = {
    "type": "array",
    "items": {"type": "string", "maxLength": MAX_VALUE},
    "minItems": 1,
    "maxItems": requirements.MAX_VALUES,
}
_WEIGHT = {"type": "integer", "minimum": 1, "maximum": requirements.MAX_WEIGHT, "default": 1}


def _conditions(
    description: str, example: dict[str, Any], *forms: dict[str, Any]
) -> dict[str, Any]:
    """Return the schema of conditions by label: a list of values, or one of the objects."""
    return {
        "type": "object",
        "description": description,
        "additionalProperties": {"oneOf": [_VALUES, *forms]},
        "maxProperties": requirements.MAX_LABELS,
        "example": example,
    }


class RequireField(Described, serializers.Field[dict[str, Any], Any, Any, Any]):
    """`require`: conditions on the labels of its node."""

    body_schema = answer_schema = _conditions(
        "What the labels of its node must be, by name: one of a list of values, `not` one of them,"
        " or whether the label `exists`.",
        {"gpu.model": ["a100-80gb", "h100"], "spot": {"not": ["true"]}},
        closed("LabelIsNot", {"not": _VALUES}),
        closed("LabelExists", {"exists": {"type": "boolean"}}),
    )

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


class PreferField(RequireField):
    """`prefer`: conditions on the labels of its node, with weights."""

    body_schema = answer_schema = _conditions(
        "What decides between nodes if plans are equal otherwise: as `require`, and conditions in"
        " an object may have a `weight`.",
        {"zone": {"in": ["a"], "weight": 5}},
        closed("PreferredValues", {"in": _VALUES, "weight": _WEIGHT}, "weight"),
        closed("AvoidedValues", {"not": _VALUES, "weight": _WEIGHT}, "weight"),
        closed("PreferredLabel", {"exists": {"type": "boolean"}, "weight": _WEIGHT}, "weight"),
    )
    weighted = True


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_USER_ID
