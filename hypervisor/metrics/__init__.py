"""The figures of the whole installation for Prometheus, at `/metrics`.

platform       its processes, its cycles, and the state of the queue as a whole
organizations  the capacity, the deployments and the totals of each organization
webhooks       what has been sent to the webhooks of organizations, and what waits
notices        what has been sent of notices to people, and what waits
page           the text, which all web processes share for ten seconds
views          who may read it

`monitoring/` at the top of the repository has the dashboard and the alert rules that use them.
"""
