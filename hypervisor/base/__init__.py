"""The foundation of every app; it contains nothing about people, clusters or routes.

errors      the refusals that services raise; one handler turns them into responses
outages     database errors by SQLSTATE, and the refusals that they lead to
names       names that people can distinguish, as a model field and a serializer field
numbers     whole numbers in text from outside
forms       form fields that read such numbers
locks       the base of every queryset whose rows are locked, and locks of names
long_locks  locks of names that outlast a transaction
arrays      arrays as parameters of statements, written at once
purging     deletes old rows in small batches that wait for no lock
prepared    queries that are compiled once
stored      functions in the database, whose statements are planned once for each session
postgresql/ the connection to the database, which is checked without a statement
bounds      limits on how much one user or organization may have
secrets     encryption of what must not be readable in the database
links       signatures of links in mails
threads     calls that use the database, from an event loop
cache       the shared cache, with short timeouts
commands    the base of the product's commands
"""
