"""The form of a submission: its fields as people type them, and the entry that they describe.

What is valid is decided by the API's serializer and the services; an error that names a field
stands beside it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from django import forms
from django.utils.crypto import get_random_string

from accounts.models import User
from clusters.models import Cluster
from clusters.resources import cores
from deployments import bulk
from deployments.arrays.elements import INDEX, SIZE
from deployments.bulk import Entry
from deployments.choices import OnDependencyFailure, RestartPolicy
from deployments.environment import SECRET
from deployments.models import Deployment
from deployments.serializers import DeploymentSerializer
from hypervisor.base.errors import DomainError
from hypervisor.portal import typed
from orgs.models import Organization

_FIRST = ("organization", "name", "image", "command", "cpu", "ram_mib", "gpu", "priority")
_FIELD_OF = {"cluster": "requested_cluster", "array.at_once": "at_once"}
"""The fields of the form that have another name than those of the API."""


def _area(rows: int, **attributes: str) -> forms.Textarea:
    return forms.Textarea({"rows": rows, "spellcheck": "false", **attributes})


class SubmitForm(forms.Form):
    """`key` makes a submission that is sent twice a single one.

    `readers` are the functions that read the text of a field.
    """

    readers: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "command": typed.read_command,
        "env": typed.read_variables,
        "secrets": typed.read_secrets,
        "labels": typed.read_labels,
        "require": typed.read_conditions,
        "prefer": lambda text: typed.read_conditions(text, weighted=True),
        "max_runtime_s": typed.read_seconds,
        "depends_on": typed.read_waits,
        "run_as": typed.read_user,
    }

    key = forms.CharField(widget=forms.HiddenInput(), max_length=64)
    organization = forms.ModelChoiceField(Organization.objects.none(), empty_label=None)
    name = forms.CharField()
    image = forms.CharField(
        help_text="Such as ghcr.io/acme/train:1. The log-in to a private registry is taken from"
        " the organization.",
        strip=False,
    )
    command = forms.CharField(
        required=False, help_text="As in a shell. Empty: the command of the image."
    )
    cpu = forms.CharField(label="CPU", initial="1", help_text="Cores, such as 4 or 0.5.")
    ram_mib = forms.CharField(label="RAM", initial="4Gi", help_text="Such as 16Gi or 512Mi.")
    gpu = forms.IntegerField(label="GPU", initial=0, min_value=0)
    priority = forms.IntegerField(
        initial=50,
        min_value=1,
        max_value=100,
        help_text="From 1 to 100. A higher priority goes first, and may evict lower ones.",
    )
    requested_cluster = forms.ModelChoiceField(
        Cluster.objects.none(), label="Cluster", required=False, empty_label="Any"
    )
    env = forms.CharField(
        label="Environment",
        required=False,
        widget=_area(3),
        help_text="One NAME=value on each line.",
    )
    secrets = forms.CharField(
        required=False,
        widget=_area(2, **{"class": "p-secret", "autocomplete": "off"}),
        help_text="Variables as above that are stored encrypted and never shown again.",
    )
    labels = forms.CharField(
        required=False, help_text="To find it by, such as team=vision, run=42."
    )
    require = forms.CharField(
        label="Node must have",
        required=False,
        widget=_area(2),
        help_text="One condition on the node's labels on each line: gpu.model=h100,a100 or zone!=b"
        " or fast or !spot.",
    )
    prefer = forms.CharField(
        label="Node should have",
        required=False,
        widget=_area(2),
        help_text="As above; a line may end with a weight, such as zone=a *5.",
    )
    max_runtime_s = forms.CharField(
        label="Maximum run time",
        required=False,
        help_text="Seconds, or 90m, 12h, 2d. Empty: no limit.",
    )
    restart_policy = forms.ChoiceField(
        label="After a failure",
        initial=RestartPolicy.NEVER,
        choices=[
            (RestartPolicy.NEVER, "Do not restart"),
            (RestartPolicy.ON_FAILURE, "Restart"),
        ],
    )
    max_restarts = forms.IntegerField(
        label="Restarts in a row at most", initial=3, min_value=1, max_value=1000
    )
    depends_on = forms.CharField(
        label="Waits for",
        required=False,
        help_text="Ids of deployments that must complete first, such as 7, 9; with 8:running, it"
        " waits only until 8 runs.",
    )
    on_dependency_failure = forms.ChoiceField(
        label="If one of them fails",
        initial=OnDependencyFailure.WAIT,
        choices=[
            (OnDependencyFailure.WAIT, "Keep waiting"),
            (OnDependencyFailure.CANCEL, "Cancel this deployment"),
        ],
    )
    array = forms.IntegerField(
        label="Array: number of elements",
        required=False,
        min_value=1,
        help_text="So many equal deployments, each with its index in HV_INDEX.",
    )
    at_once = forms.IntegerField(label="Array: active at once at most", required=False, min_value=1)
    run_as = forms.CharField(
        label="Runs as", required=False, help_text="Ids of a user and a group, such as 1000:1000."
    )
    ephemeral_storage_mib = forms.CharField(
        label="Ephemeral storage at most", required=False, help_text="Such as 20Gi."
    )

    def __init__(self, person: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        mine = Organization.objects.visible_to(person).order_by("name", "pk")
        fields["organization"].queryset = mine.filter(pk__in=bulk.submits_to(person))
        fields["key"].initial = get_random_string(32)
        clusters = Cluster.objects.visible_to(person).select_related("organization")
        fields["requested_cluster"].queryset = clusters.order_by("organization__name", "name")
        self.is_of_one = len(mine[:2]) < 2
        if self.is_of_one:
            del fields["organization"]
        else:
            fields["requested_cluster"].label_from_instance = _with_organization
        # What is empty takes the API's default, and a form that lacks a field leaves it out.
        for name in ("gpu", "priority", "restart_policy", "max_restarts", "on_dependency_failure"):
            fields[name].required = False

    @property
    def first(self) -> list[forms.BoundField]:
        return [self[name] for name in _FIRST if name in self.fields]

    @property
    def more(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in (*_FIRST, "key")]

    @property
    def more_is_needed(self) -> bool:
        """Whether one of the further fields has an error, or something other than its default."""
        return any(field.errors or not _is_default(field) for field in self.more)

    def clean(self) -> None:
        for name, read in self.readers.items():
            text = self.cleaned_data.get(name)
            if isinstance(text, str) and text.strip():
                try:
                    self.cleaned_data[name] = read(text)
                except ValueError as error:
                    self.add_error(name, str(error))

    def body(self) -> dict[str, Any]:
        """Return the submission as the API takes it; what is empty is left out."""
        given = {n: v for n, v in self.cleaned_data.items() if n != "key" and v not in ("", None)}
        for name in ("organization", "requested_cluster"):
            if name in given:
                given[name] = given[name].pk
        secrets = given.pop("secrets", {})
        if secrets:
            sealed = {name: {SECRET: value or None} for name, value in secrets.items()}
            given["env"] = {**given.get("env", {}), **sealed}
        size, at_once = given.pop("array", None), given.pop("at_once", None)
        if size or at_once:
            given["array"] = {"size": size, "at_once": at_once}
        return given

    def entry(self, person: User) -> Entry | None:
        """Return what to submit; None if something is wrong, which the form then says."""
        serializer = self.checked()
        if serializer is None:
            return None
        try:
            (entry,) = bulk.authorize(person, {"": serializer.validated_data})
        except DomainError as error:
            self.refuse(error)
            return None
        return entry

    def serializer(self) -> DeploymentSerializer:
        """Return the serializer of the call that the form makes."""
        return DeploymentSerializer.of(self.body())

    def checked(self) -> DeploymentSerializer | None:
        """Return the valid serializer; None if something is wrong, which the form then says."""
        wrong = set(self.errors)
        serializer = self.serializer()
        if not serializer.is_valid():
            for path, message in _messages(serializer.errors):
                # Fields that are wrong already are missing from the body.
                if self._shown_at(path) not in wrong:
                    self._add(path, message)
        return None if self.errors else serializer

    def refuse(self, error: DomainError) -> None:
        """Show a refusal beside the field that it names."""
        self._add(error.attr or "", error.detail)

    def _add(self, path: str, message: str) -> None:
        within = path.partition(".")[2]
        name = self._shown_at(path)
        if name not in self.fields:
            self.add_error(None, f"{path}: {message}" if path else message)
        else:
            named = within and path not in _FIELD_OF and name != "array"
            self.add_error(name, f"{within}: {message}" if named else message)

    @staticmethod
    def _shown_at(path: str) -> str:
        """Return the field that shows the errors of an attribute of the API."""
        name = _FIELD_OF.get(path) or path.split(".")[0]
        return _FIELD_OF.get(name, name)


def like(deployment: Deployment) -> dict[str, Any]:
    """Return the form's values for another deployment like this one; of an element, its array's.

    The values of secrets are not shown again, so their names come without values.
    """
    array = deployment.array
    env = {name: v for name, v in deployment.env.items() if not (array and name in (INDEX, SIZE))}
    waits = deployment.dependencies.order_by("pk").values_list("on", "condition")
    secrets = sorted(name for name, value in env.items() if not isinstance(value, str))
    return {
        "organization": deployment.organization_id,
        "name": array.name if array else deployment.name,
        "image": deployment.image,
        "command": typed.command_text(deployment.command),
        "cpu": cores(deployment.cpu_milli),
        "ram_mib": typed.mib_text(deployment.ram_mib),
        "gpu": deployment.gpu,
        "priority": deployment.priority,
        "requested_cluster": deployment.requested_cluster_id,
        "env": typed.variables_text(env),
        "secrets": "\n".join(f"{name}=" for name in secrets),
        "labels": typed.labels_text(deployment.labels),
        "require": typed.conditions_text(deployment.require),
        "prefer": typed.conditions_text(deployment.prefer),
        "max_runtime_s": deployment.max_runtime_s and typed.seconds_text(deployment.max_runtime_s),
        "restart_policy": deployment.restart_policy,
        "max_restarts": deployment.max_restarts,
        "depends_on": typed.waits_text(waits),
        "on_dependency_failure": deployment.on_dependency_failure,
        "array": array.size if array else None,
        "at_once": array.at_once if array else None,
        "run_as": typed.user_text(deployment.run_as),
        "ephemeral_storage_mib": deployment.ephemeral_storage_mib
        and typed.mib_text(deployment.ephemeral_storage_mib),
    }


def content_of(body: Mapping[str, Any]) -> str:
    """Return the submission as a text that is equal for equal ones."""
    return json.dumps(body, sort_keys=True)


def _messages(errors: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each message of a serializer, with the path of its field."""
    if isinstance(errors, Mapping):
        for name, within in errors.items():
            own = path if name == "non_field_errors" else f"{path}.{name}".removeprefix(".")
            yield from _messages(within, own)
    elif isinstance(errors, list):
        for each in errors:
            yield from _messages(each, path)
    else:
        yield path, str(errors)


def _is_default(field: forms.BoundField) -> bool:
    return str(field.value() or "") in ("", str(field.field.initial))


def _with_organization(cluster: Cluster) -> str:
    return f"{cluster.name} ({cluster.organization.name})"
