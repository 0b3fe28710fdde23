"""Django's PostgreSQL backend, which checks a kept connection without a statement."""
