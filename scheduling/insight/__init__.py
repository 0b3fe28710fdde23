"""Read models over the next plan.

explain             why a deployment is in its state
dry_run             what the submission of a deployment, or of an array, would lead to
organization_queue  the competing deployments of one organization, in groups of alike ones
standing            the places of a list's deployments in the queue, and why they wait
queue               the pending deployments in the scheduler's order, with their wait reasons
operator_actions    the actions of operators: one table for pages, previews and permissions
preview             the consequences of an action, shown before it is confirmed
trial               the consequences of a change of a user, which is rolled back
verify              checks on the live database that ledger, runs and history agree
"""
