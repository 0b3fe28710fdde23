"""Arrays: many equal deployments of one submission.

models        an array, and how many of its elements are in which status
elements      the rows of a new array's elements
services      changes of the limit, and the deletion with the last element
fields, serializers, views   the formats and the calls of the REST API
"""
