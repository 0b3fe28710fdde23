"""Signing in through an OpenID Connect provider, such as Keycloak, Entra ID or Okta.

provider    the conversation with the provider, and the claims that it makes
identities  the user of a provider's subject
"""
