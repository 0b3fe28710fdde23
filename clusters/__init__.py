"""Supply.

models        clusters, connections to engines
resources     the three resources: columns, limits, quantities
services      actions on clusters
nodes         changes to nodes; node_rules says which are possible
places        how the place of a deployment is named
connections   which engine a cluster has
engine_nodes  the nodes that an engine reports, kept as the cluster's
sharing       several clusters on one engine, each with other nodes
ownership     whether the engine belongs to this installation
drivers/      one folder for each kind of engine
demand        what clusters need to know about deployments, which register it
wakeups       requests for cycles and reconciliation, on commit
watching      one thread for each engine that reports changes
views, serializers, filters   the REST API
"""
