"""The members' pages, at `/`, `/my/` and `/account/`: what a person who is no operator needs.

Nothing imports it; like the console, it stands on `ui` and writes through the apps' services.

bases         the base class of its pages
urls          their paths
links         which of them show what kind of thing
rights        what a person's role allows on a deployment: the roles of the API's calls
submission    the form of a submission
typed         fields with structure, as the text that people type
pages/        one module per page
account/      signing in, and what a person does with the own account
"""
