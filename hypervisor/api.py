"""The whole API's routes on one page."""

from rest_framework.routers import SimpleRouter

router = SimpleRouter(trailing_slash=False, use_regex_path=True)

urlpatterns = [
    *router.urls,
]
