"""The OpenAPI document, `/openapi.json`, from which clients are generated.

calls      each call: its name, parameters, examples and responses
responses  errors and response headers, each described once
document   changes to the finished document
"""
