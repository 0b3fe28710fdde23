"""Signing in and out, and what a person does with the own account.

urls          the paths under `/account/`
"""
