"""Replay a workload in simulated time through the planner itself, and compare policies."""
