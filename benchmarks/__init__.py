"""Measures the service and the planner: `manage.py bench NAME`. The product never imports it.

Each bench is a module with `add_arguments(parser)` and `command(options, out)`. `cases` and
`workload` make inputs, `reference` is the exact optimum, `rules` checks plans, `planners` has what
the planner is compared with, `service` and `client` run and call a service of their own.
"""
