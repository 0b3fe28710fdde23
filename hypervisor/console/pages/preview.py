"""The page between an action and its confirmation: a preview of the consequences."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from clusters.capacity import Capacity
from clusters.models import Cluster, Node
from clusters.places import Places
from clusters.resources import cores, parse_cpu, parse_ram_mib
from deployments.models import Deployment
from hypervisor.base.forms import IntegerFormField
from hypervisor.base.numbers import whole
from hypervisor.console.bases import MOST_AT_ONCE
from hypervisor.console.pages.base import TopLevelPage
from scheduling.insight.operator_actions import ACTIONS, Action, Change, Needs
from scheduling.insight.preview import Preview, Touched, carry_out, preview
from scheduling.planner.compare import Consequence, Kind

_SHOWN = 100
"""The number of lines shown of each kind; the others are counted."""


class PriorityForm(forms.Form):
    priority = IntegerFormField(
        label="New priority",
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        widget=forms.NumberInput({"min": 1, "max": 100}),
        help_text="From 1 to 100; higher goes first.",
    )

    def options(self) -> dict[str, Any]:
        return {"priority": self.cleaned_data["priority"]}


class NodeField(forms.ModelChoiceField):  # type: ignore[type-arg]
    places = Places()

    def offer(self, nodes: QuerySet[Node]) -> None:
        self.places = Places.of_nodes(nodes)
        self.queryset = nodes

    def label_from_instance(self, obj: Node) -> str:
        return self.places.of_node(obj)


class TargetForm(forms.Form):
    target = forms.ModelChoiceField(
        Cluster.objects.none(),
        label="To cluster",
        required=False,
        empty_label="Any other cluster",
        help_text="Without a name, it moves to another cluster with free capacity. With a name, it"
        " may run only there from now on, and evicts lower priorities there if it has to.",
    )

    node = NodeField(
        Node.objects.none(),
        label="Or to node",
        required=False,
        empty_label="Any node",
        help_text="It moves to this node if that has enough free capacity, and may still run"
        " elsewhere. Only active nodes of active clusters are listed.",
    )

    def clean(self) -> None:
        if self.cleaned_data.get("target") and self.cleaned_data.get("node"):
            self.add_error("node", "Choose either a cluster or a node.")

    def options(self) -> dict[str, Any]:
        return {"target": self.cleaned_data["node"] or self.cleaned_data["target"]}


class CapacityForm(forms.Form):
    cpu = forms.CharField(label="CPU", help_text="Cores, such as 128 or 0.5.")
    ram = forms.CharField(label="RAM", help_text="A quantity, such as 512Gi.")
    gpu = IntegerFormField(label="GPU", min_value=0, help_text="Devices.")

    def clean_cpu(self) -> int:
        try:
            return parse_cpu(self.cleaned_data["cpu"])
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def clean_ram(self) -> int:
        try:
            return parse_ram_mib(self.cleaned_data["ram"])
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def options(self) -> dict[str, Any]:
        names = ("cpu", "ram", "gpu")
        return {"capacity": Capacity(*(self.cleaned_data[name] for name in names))}


OptionForm = PriorityForm | TargetForm | CapacityForm


@dataclass(frozen=True, slots=True)
class Line:
    """One consequence, with names instead of ids."""

    row: Consequence
    name: str
    source: str
    target: str
    for_name: str


@dataclass(frozen=True, slots=True)
class Section:
    """The first consequences of one kind for deployments other than the subjects, and the count."""

    kind: Kind
    title: str
    lines: list[Line]
    count: int

    @property
    def not_shown(self) -> int:
        return self.count - len(self.lines)


_TITLES = {
    Kind.EVICTED: "Would be evicted",
    Kind.MOVES: "Would move",
    Kind.RESTARTS: "Would restart on the same node",
    Kind.WAITS: "Would wait",
    Kind.STAYS: "Would keep their place",
    Kind.STARTS: "Would start",
}


class PreviewPage(TopLevelPage):
    template_name = "console/preview.html"
    refresh_s = None

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        action = ACTIONS.get(kwargs["action"])
        if action is None:
            raise Http404(f"No such action: {kwargs['action']}")
        self.action: Action = action
        self.subjects = read_ids(request)
        self.rows: list[Any] = list(action.model._default_manager.filter(pk__in=self.subjects))
        self.title = _title(action, self.rows)

    def has_permission(self) -> bool:
        return self.request.user.has_perm(self.action.permission)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not self.rows:
            messages.warning(request, f"Choose the {self.action.subject}s first.")
            return HttpResponseRedirect(self._back())
        if len(self.subjects) > MOST_AT_ONCE:
            messages.error(request, f"Choose at most {MOST_AT_ONCE} at once: there are more.")
            return HttpResponseRedirect(self._back())
        form = self._form()
        if form is not None and (why := self._objections()):
            for reason in why:
                messages.warning(request, reason)
            return HttpResponseRedirect(self._back())
        result = preview(self._change(form)) if form is None or form.is_valid() else None
        return self._page(form, result)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Carry out what was shown, or show the new preview if the consequences have changed."""
        form = self._form()
        if not self.rows or (form is not None and not form.is_valid()):
            return self.get(request, *args, **kwargs)
        done, result = carry_out(self._change(form), shown=request.POST.get("shown", ""))
        if not done:
            messages.warning(
                request,
                "Nothing was done: the situation has changed. This is what would happen now.",
            )
            return self._page(form, result)
        for level, text in _outcome(self.action, result.touched):
            messages.add_message(request, level, text)
        return HttpResponseRedirect(self._back())

    def _objections(self) -> list[str]:
        """Return why the action is refused, whatever its options; none if it is possible for a row.

        Otherwise, an operator would fill in the form for nothing.
        """
        why = [self.action.objection(row) for row in self.rows]
        return list(dict.fromkeys(why)) if all(why) else []

    def _change(self, form: OptionForm | None) -> Change:
        options = form.options() if form else {}
        actor = self.request.user.get_username()
        return Change(self.action, tuple(sorted(self.subjects)), actor, options)

    def _form(self) -> OptionForm | None:
        """Return the form of the action's options, bound once they are in the query."""
        needs, query = self.action.needs, self.request.GET
        if needs == Needs.PRIORITY:
            return PriorityForm(query if "priority" in query else None)
        if needs == Needs.CAPACITY:
            bound = query if {"cpu", "ram", "gpu"} & set(query) else None
            return CapacityForm(bound, initial=_present_capacity(self.rows))
        if needs == Needs.TARGET:
            form = TargetForm(query if {"target", "node"} & set(query) else None)
            organizations = {row.organization_id for row in self.rows}
            form.fields["target"].queryset = (  # type: ignore[attr-defined]
                Cluster.objects.filter(organization__in=organizations).order_by("name")
            )
            nodes = Node.objects.taking_deployments()
            nodes = nodes.filter(cluster__organization__in=organizations)
            cast("NodeField", form.fields["node"]).offer(nodes.order_by("cluster__name", "pk"))
            return form
        return None

    def _page(self, form: OptionForm | None, result: Preview | None) -> HttpResponse:
        return self.render_to_response(
            self.get_context_data(
                action=self.action,
                form=form,
                rows=self.rows,
                kept=_kept(self.request),
                preview=result,
                lines=dict(_own_lines(result)) if result else {},
                sections=list(_sections(result)) if result else [],
                figures=_figures(result) if result else {},
                reasons=result is not None and any(row.reason for row in result.touched),
                back=self._back(),
            )
        )

    def _back(self) -> str:
        asked = self.request.GET.get("next", "")
        secure = self.request.is_secure()
        if url_has_allowed_host_and_scheme(asked, {self.request.get_host()}, secure):
            return asked
        if self.action.model is Deployment:
            return reverse("queue")
        return reverse("admin:clusters_cluster_changelist")


def read_ids(request: HttpRequest) -> list[int]:
    """Return the ids in the query, sorted: a parameter `id` each, or `ids` separated by commas."""
    texts = [*request.GET.getlist("id"), *request.GET.get("ids", "").split(",")]
    return sorted({pk for text in texts if (pk := whole(text)) is not None})


def _kept(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the parameters that the page's form passes on: the subjects and the way back."""
    return [
        (name, value)
        for name in ("id", "ids", "next")
        for value in request.GET.getlist(name)
        if value
    ]


def _title(action: Action, rows: list[Any]) -> str:
    if len(rows) == 1:
        return f"{action.label}: {rows[0].name}"
    return f"{action.label}: {len(rows)} {action.subject}s"


def _present_capacity(rows: list[Cluster] | list[Node]) -> dict[str, object]:
    if not rows:
        return {}
    gib, rest = divmod(rows[0].ram_mib, 1024)
    ram = f"{rows[0].ram_mib}Mi" if rest else f"{gib}Gi"
    return {"cpu": cores(rows[0].cpu_milli), "ram": ram, "gpu": rows[0].gpu}


def _outcome(action: Action, touched: tuple[Touched, ...]) -> Iterator[tuple[int, str]]:
    done = [row.name for row in touched if not row.refused]
    if len(done) == 1:
        yield messages.SUCCESS, f"{done[0]}: {action.done}."
    elif done:
        yield messages.SUCCESS, f"{len(done)} {action.subject}s: {action.done}."
    for row in touched:
        if row.refused:
            yield messages.WARNING, row.reason


def _line(preview: Preview, row: Consequence) -> Line:
    return Line(
        row,
        preview.names.get(row.deployment, f"deployment {row.deployment}"),
        preview.places.name(row.source, row.source_node),
        preview.places.name(row.target, row.target_node),
        preview.names.get(row.for_ or 0, ""),
    )


def _own_lines(preview: Preview) -> Iterator[tuple[int, Line]]:
    """Yield the consequences for the subjects themselves, by id."""
    if preview.change.action.model is Deployment:
        for row in preview.consequences:
            if row.deployment in preview.change.subjects:
                yield row.deployment, _line(preview, row)


def _sections(preview: Preview) -> Iterator[Section]:
    own = dict(_own_lines(preview))
    for kind, title in _TITLES.items():
        rows = [r for r in preview.consequences if r.kind == kind and r.deployment not in own]
        if rows:
            rows.sort(key=lambda r: (-r.priority, r.deployment))
            lines = [_line(preview, row) for row in rows[:_SHOWN]]
            yield Section(kind, title, lines, len(rows))


def _figures(preview: Preview) -> dict[str, int]:
    """Count the deployments that lose, change or get their place, or start to wait."""
    rows = preview.consequences
    lose = (Kind.EVICTED, Kind.WITHDRAWN, Kind.WAITS)
    return {
        "lose": sum(r.kind in lose and r.source is not None for r in rows),
        "move": sum(r.kind in (Kind.MOVES, Kind.RESTARTS) for r in rows),
        "start": sum(r.kind == Kind.STARTS for r in rows),
        "wait": sum(r.kind == Kind.WAITS and r.source is None for r in rows),
    }
