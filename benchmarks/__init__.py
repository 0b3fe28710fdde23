"""`manage.py bench NAME`: measures the service and the planner. The product never imports it.

Each bench is a module with `add_arguments(parser)` and `command(options, out)`. `cases` and
`workload` make the inputs, `reference` finds the exact optimum, `rules` checks plans, `planners`
lists the planners to compare, `cells`, `stored_replays` and `paired` are parts of `over_time`,
`rival` is compared by `submissions`, and `service`, `client` and `hammer` run and call a separate
service.
"""
