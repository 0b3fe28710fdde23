"""Replay a workload in simulated time with the real planner, and compare policies."""
