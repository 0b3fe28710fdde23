"""Base classes of the REST API, which refuse unknown input instead of ignoring it.

documents    JSON without repeated keys or values that cannot be stored
parsing      parsers of request bodies
parameters   query parameters
serializers  base serializers
schemas      what the OpenAPI document says about serializers and fields
compiled     what serializers do for each row, found out once
filters      filters and orderings of lists
pagination   keyset pages, which stay stable while rows come and go
"""
