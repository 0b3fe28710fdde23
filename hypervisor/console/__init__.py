"""The operators' admin. Nothing imports it; it imports everything.

bases         what every page derives from: read-only tables, audited writes, live fragments
charts        the geometry of bars and plots
templatetags  badges, figures, bars, plots, and how pages word things
navigation    the sidebar, by what each person may open
groups        the groups Operators and Viewers and their permissions
urls          pages that belong to no table, under `/admin/`
admin/        the tables, one module a domain
pages/        one module a page: queue, cluster, deployment, preview of an action, cycle, replay ...
dashboard/    the first page
data/         what pages show that no table holds: timelines, occupancy, one cluster's data
"""
