"""Matching of demand and supply.

planner/      a pure function from a snapshot to a plan; see its README
cycle/        reads the snapshot, applies the plan, records both
insight/      explain, queue, previews, verify: read models over the next plan
monitoring/   health, heartbeats, samples, alarms
simulation/   workloads in simulated time
models        cycles, samples, days
periodic      the periodic tasks that beat runs
views, serializers   all of /deployments, because the dry run and explain need the planner
"""
