"""A preemptor that loses its place before it starts."""

from deployments import services
from deployments.models import Deployment
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle


def preempt_in_vain(preemptor: Deployment) -> None:
    """Let the preemptor, which is starting, lose its place, its victims return and it compete."""
    services.preempt(preemptor, actor="olga")
    run_cycle(preemptor.organization_id, SchedulingCycle.Trigger.CHANGE)
    Deployment.objects.filter(pk=preemptor.pk).update(ready_after=None)
