"""Arrays: many equal deployments of one submission.

models        an array, and how many of its elements are in which status
elements      the rows of a new array's elements
fields, serializers, views   the formats and the calls of the REST API
"""
