"""Bases of the REST API that refuse what they do not know.

documents    JSON in which every key comes once and every value can be stored
parsing      parsers of request bodies
parameters   query parameters
serializers  bases of serializers
filters      filters and orderings of lists
pagination   keyset pages that rows may enter and leave
"""
