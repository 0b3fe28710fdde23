"""The whole API's routes on one page."""

from rest_framework.routers import SimpleRouter

from clusters.views import ClusterViewSet
from scheduling.views import DeploymentViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=True)
router.register("clusters", ClusterViewSet)
router.register("deployments", DeploymentViewSet)

urlpatterns = [
    *router.urls,
]
