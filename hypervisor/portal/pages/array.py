"""Cancelling the pending elements of an array, or stopping the active ones."""

from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import reverse

from accounts.models import User
from deployments import selection
from deployments.choices import Status
from deployments.models import Array, Deployment, DeploymentQuerySet
from hypervisor.portal.actions import ConfirmPage
from hypervisor.portal.rights import check, may


@dataclass(frozen=True, slots=True)
class _Verb:
    """What is done with the elements in some states; `done` completes "3 elements: cancelled."."""

    title: str
    call: str
    action: selection.Action
    states: tuple[Status, ...]
    which: str
    done: str


VERBS = {
    "cancel": _Verb(
        "Cancel", "cancel", selection.CANCEL, (Status.PENDING,), "pending", "cancelled"
    ),
    "stop": _Verb(
        "Stop", "stop", selection.STOP, (Status.STARTING, Status.RUNNING), "active", "being stopped"
    ),
}
"""The verbs by their part of the path."""


class ArrayActionPage(ConfirmPage):
    section = "deployments"
    array: Array
    verb: _Verb

    def prepare(self) -> None:
        """Read the array. Raises Forbidden if the person may not do this with its elements."""
        verb = VERBS.get(self.kwargs["action"])
        if verb is None:
            raise Http404
        rows = Array.objects.visible_to(self.person)
        self.array, self.verb = get_object_or_404(rows, pk=self.kwargs["pk"]), verb
        check(verb.call, self.array, self.person)
        self.title, self.button = f"{verb.title} {self.array.name}", f"{verb.title} them"
        self.breadcrumbs = (
            ("Deployments", reverse("portal:deployments")),
            (self.array.name, self.back),
            (verb.title, None),
        )

    @property
    def back(self) -> str:
        return f"{reverse('portal:deployments')}?array={self.array.pk}"

    @property
    def consequences(self) -> list[str]:
        """Return what happens to the elements, and to those that it is not about."""
        pending, active = (self._elements(VERBS[name]).count() for name in ("cancel", "stop"))
        if self.verb.call == "cancel":
            return [
                f"The {pending:,} pending elements are cancelled: they do not start.",
                f"The {active:,} active elements go on: stop them afterwards if you want.",
            ]
        return [
            f"The {active:,} active elements end; their containers are asked to stop.",
            f"The {pending:,} pending elements still start: cancel them first if you want.",
        ]

    def act(self) -> str:
        """Do it in parts, because the audit trail gets a row for each element."""
        progress = selection.carry_out_in_parts(
            self.verb.action,
            self._elements(self.verb),
            actor=self.person.username,
            member=self.person,
        )
        done, left = progress.changed, progress.remaining
        messages.success(
            self.request, f"{done:,} element{'' if done == 1 else 's'}: {self.verb.done}."
        )
        if left:
            messages.warning(self.request, f"{left:,} are left: repeat it to go on.")
            return self.request.path
        return self.back

    def _elements(self, verb: _Verb) -> DeploymentQuerySet:
        return Deployment.objects.filter(array=self.array, status__in=verb.states)


def offered(array: Array, person: User) -> list[tuple[str, str]]:
    """Return the paths and titles of what the person may do with present elements."""
    present = set(
        Deployment.objects.live().filter(array=array).order_by().values_list("status").distinct()
    )
    return [
        (path, f"{verb.title} the {verb.which} ones\N{HORIZONTAL ELLIPSIS}")
        for path, verb in VERBS.items()
        if any((state,) in present for state in verb.states) and may(verb.call, array, person)
    ]
