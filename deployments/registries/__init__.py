"""Registries of images that need a log-in, by organization.

Engines pull an organization's images with these log-ins. A password is encrypted, given to engines
only, and never shown again.
"""
