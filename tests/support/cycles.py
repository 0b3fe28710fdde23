"""The periodic cycles, as the workers run them."""

from scheduling import tasks


def run_due_cycles() -> None:
    """Do what a message of beat causes: refresh the reasons, and run each due cycle."""
    tasks.run_due_cycles()
    tasks.refresh_reasons()
    for organization_id in tasks.due_organizations():
        tasks.run_due_cycle(organization_id)
