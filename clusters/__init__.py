"""Supply.

models        clusters, connections to engines
resources     the three resources: columns, limits, quantities
services      actions on clusters
connections   which engine a cluster has
ownership     whether the engine belongs to this installation
drivers/      one folder for each kind of engine
demand        what clusters need to know about deployments, which register it
wakeups       requests for cycles and reconciliation, on commit
watching      one thread for each engine that reports changes
secrets       encryption at rest
views, serializers, filters   the REST API
"""
