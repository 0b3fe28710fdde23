"""Measure the planner: seeded cases, an exact reference, and the rules as a checker."""
