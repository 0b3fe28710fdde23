"""Which stored reasons differ from those of a plan, without reading again those that cannot.

What changes on one node changes the reasons of few priorities, or of none. Comparing the basis of a
priority's reasons costs far less than finding and comparing thousands of sentences.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from scheduling.cycle.kept import Kept
from scheduling.cycle.snapshot import Loaded
from scheduling.cycle.working_copy import Known
from scheduling.planner.plan import BEYOND_BASIS, Plan, WaitReason, WaitReasons

Explained = tuple[str, str]
"""The code and the sentence of a reason."""

_MOST_DEPLOYMENTS = 500_000
"""Of how many deployments in all a process keeps that their stored reasons are right."""


@dataclass(slots=True)
class _Compared:
    """What an organization's last comparison has found: the basis of the reasons by priority, and
    the deployments whose stored reasons were right, by id.
    """

    bases: dict[int, Hashable] = field(default_factory=dict)
    right: dict[int, Known] = field(default_factory=dict)


_compared: Kept[_Compared] = Kept(_MOST_DEPLOYMENTS, lambda compared: len(compared.right))


def differing(waits: Iterable[WaitReason], loaded: Loaded) -> dict[int, Explained]:
    """Return the code and the sentence of each reason of which one is not as known."""
    found = {wait.deployment: _differs(wait, loaded) for wait in waits}
    return {pk: explained for pk, explained in found.items() if explained is not None}


def all_differing(plan: Plan, loaded: Loaded, size: int) -> Iterator[Mapping[int, Explained]]:
    """Yield the same of all reasons of a plan, of at most `size` deployments at a time.

    Once all are read, this process skips those that were right while their basis and their
    deployments stay the same.
    """
    former = _compared.get(loaded.organization) or _Compared()
    waits, present = plan.wait_reasons, _Compared()
    unread = _unread(waits, loaded, former, present)
    for start in range(0, len(unread), size):
        read = [waits[position] for position in unread[start : start + size]]
        found = differing(read, loaded)
        for wait in read:
            known = loaded.known[wait.deployment]
            if wait.deployment not in found and known.code not in BEYOND_BASIS:
                present.right[wait.deployment] = known
        yield found
    _compared.keep({loaded.organization: present})


def _unread(
    waits: Sequence[WaitReason], loaded: Loaded, former: _Compared, present: _Compared
) -> Sequence[int]:
    """Return the positions of the reasons that have to be read, and take over what was right."""
    if not isinstance(waits, WaitReasons):
        return range(len(waits))
    unread = []
    for position, deployment in enumerate(waits.deployments):
        priority, known = deployment.priority, loaded.known[deployment.id]
        if priority not in present.bases:
            present.bases[priority] = waits.basis(priority)
        basis = present.bases[priority]
        is_same = basis is not None and basis == former.bases.get(priority)
        if is_same and former.right.get(deployment.id) is known:
            present.right[deployment.id] = known
        else:
            unread.append(position)
    return unread


def _differs(wait: WaitReason, loaded: Loaded) -> Explained | None:
    known, present = loaded.known[wait.deployment], (wait.code, wait.reason)
    return None if (known.code, known.reason) == present else present
