"""What every app stands on; nothing here knows a person, a cluster or HTTP's routes.

errors    the refusals that services raise; one handler turns them into responses
outages   what an error of the database means, by its SQLSTATE
names     names that people can tell apart, as a model field and a serializer field
numbers   whole numbers in text from outside
forms     form fields that read such text
locks     the base of every queryset whose rows are locked
bounds    how much one user or organization may have
cache     the shared cache, with short patience
commands  the base of the product's own commands
"""
