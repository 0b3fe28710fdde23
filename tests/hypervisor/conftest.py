from tests.deployments.conftest import bring, forge, submit

__all__ = ["bring", "forge", "submit"]
