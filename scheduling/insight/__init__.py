"""Read models over the next plan.

explain           why a deployment is where it is, and a dry run of one that does not exist yet
queue             the pending deployments in the scheduler's order
operator_actions  what operators can do: one table for pages, previews and permissions
preview           what an action would bring about, before it is confirmed
verify            proves on the live database that ledger, runs and history agree
"""
