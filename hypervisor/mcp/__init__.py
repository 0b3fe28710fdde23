"""The MCP endpoint: tools with which agents use the service, with the caller's own token.

Each tool makes calls of the REST API within the process, so it has the API's rules, rights and
sentences. No session is kept: a request is one message, and its response is one.

messages     the protocol's messages, revisions and errors
rest         calls of the REST API on behalf of a caller
schemas      schemas of tools, from the API's own description
results      what a tool returns, within the limits of an agent's context
submission   a submission needs the confirmation that its dry run returned
tools        the tools
views        the endpoint
"""
