"""The operators' admin. Nothing imports it; it imports everything.

bases         base classes of all pages: read-only tables, audited writes, live fragments
navigation    the sidebar, filtered by permissions
groups        the groups Operators and Viewers and their permissions
urls          pages outside the tables, under `/admin/`
admin/        the tables, one module per domain
pages/        one module per page: queue, cluster, deployment, preview, cycle, replay ...
dashboard/    the first page
"""
