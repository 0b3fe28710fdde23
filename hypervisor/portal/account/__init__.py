"""Signing in and out, and what a person does with the own account.

urls          the paths under `/account/`
admin_urls    the paths of the admin that lead here
bases         what these pages have in common
sign_in       signing in and out, registration
provider      signing in through an OpenID Connect provider
passwords     a new password, also for a forgotten one
addresses     the e-mail address
closing       the end of the account
overview      the account, and where it is signed in
"""
