"""Every page is accessible by axe, in light and in dark, and fits on its screen.

A route of the URL configuration that is neither visited nor listed as no page fails the test.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from benchmarks.client import PASSWORD
from benchmarks.service import Service
from tests.support.page_routes import page_routes
from tests.support.service import User

_RUN_ALL = "/admin/scheduling/schedulingcycle/run-all/"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RUN = """options => axe.run(document, {...options, resultTypes: ["violations"]}).then(found =>
    found.violations.flatMap(v => v.nodes.map(n =>
        `${v.id}: ${n.target.join(" ")}: ${n.html.slice(0, 200)}`
    )))"""
_IS_SHOWN = """async dark => {
    await new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    const themed = document.documentElement.hasAttribute("x-data");
    return !themed || document.documentElement.classList.contains("dark") === dark;
}"""
_SIZES = """() => {
    const list = document.getElementById("result_list");
    const rows = list ? list.querySelectorAll("tr.data-row").length : 0;
    return {
        page: document.documentElement.scrollWidth,
        list: list ? list.scrollWidth - list.parentElement.clientWidth : 0,
        row: rows > 5 ? list.getBoundingClientRect().height / rows : 0,
    };
}"""
_TALLEST_ROW = 150
"""Pixels of a row on a phone, on average over a list: its name and a few short lines."""

MODEL = re.compile(r"/admin/(?!cluster/|deployment/|password_change/)[a-z_]+/[a-z_]+/")
"""The route of a table's list; its other routes begin with it."""
PARTS = ("", "add/", "<path:object_id>/", "<path:object_id>/change/", "<path:object_id>/delete/",
         "<path:object_id>/history/")  # fmt: skip

NO_PAGE = {
    "/account/sign-out/": "accepts only a form",
    "/account/email/again/": "accepts only a form",
    "/account/provider/": "redirects to the provider",
    "/account/provider/callback/": "redirects",
    "/account/verify/<path:link>/": "redirects",
    "/admin/(?P<url>.*)$": "finds addresses without their slash",
    "/admin/^(?P<app_label>": "the theme's list of an application's tables; nothing links to it",
    "/admin/autocomplete/": "JSON",
    "/admin/clusters/cluster/<path:object_id>/connect/": "redirects to the page of the engine",
    "/admin/jsi18n/": "a script",
    "/admin/login/": "redirects to the page to sign in",
    "/admin/logout/": "redirects",
    "/admin/password_change/": "redirects",
    "/admin/password_change/done/": "redirects",
    "/admin/r/<path:content_type_id>/<path:object_id>/": "redirects",
    "/my/deployments/<int:pk>/logs/file/": "a file",
}

_ROWS = """
import json
from axes.models import AccessAttempt
from django.utils import timezone
from accounts.models import ProviderIdentity, User
from clusters.models import Cluster, Connection
from deployments.notices.mail import token_of
from deployments.notices.models import Notice, NoticeMessage, NoticeRecipient, NoticeRule
from orgs.models import Delivery, Membership, Organization, Webhook
now, organization = timezone.now(), Organization.objects.get(name="Acme")
Membership.objects.create(
    organization=organization, user=User.objects.get(username="bert"), role="developer")
AccessAttempt.objects.create(username="mallory", ip_address="192.0.2.1", failures_since_start=3)
cluster = Cluster.objects.filter(organization=organization).first()
Connection.objects.create(
    cluster=cluster, endpoint="unix:///run/nowhere.sock", engine_id="e", created_at=now,
    probed_at=now)
Delivery.objects.create(webhook=Webhook.objects.first(), kind="webhook.test", status="failed")
alice = User.objects.get(username="alice")
ProviderIdentity.objects.create(
    user=alice, issuer="https://login.example.org/realms/main", subject="f3a9c0de-1122-3344",
    linked_at=now, used_at=now)
mailbox = NoticeRecipient.objects.create(user=alice)
message = NoticeMessage.objects.create(
    recipient=mailbox, subject="waits-1 was evicted", status="failed", error="550 no such mailbox")
Notice.objects.create(
    recipient=mailbox, organization=organization, deployment_id=1, name="waits-1", kind="preempted",
    group="deployment-1", key="1", headline="waits-1 was evicted", time=now, due_at=now,
    message=message)
rule = NoticeRule.objects.create(user=alice, kinds=["failed"], created_by=alice)
print(json.dumps({"notice": rule.pk, "unsubscribe": token_of(alice.pk)}))
"""


@pytest.fixture(scope="module")
def ids(service: Service, alice: User) -> dict[str, Any]:
    """Fill the service with a row of everything; return the ids that addresses need."""
    organization = alice.list("/organizations")[0]["id"]
    node = {"name": "n", "count": 2, "cpu": 4, "ram_mib": "8Gi", "gpu": 2, "labels": {"zone": "a"}}
    cluster = alice.post("/clusters", name="rack", nodes=[node])["id"]
    running = alice.deploy("in-the-way", cpu=2, gpu=2)
    alice.wait_for(running, "running")
    ended = alice.deploy("short", env={"SIMULATE_RUN_SECONDS": "1"})
    waiting = [alice.deploy(f"waits-{number}", cpu=4, gpu=2) for number in range(12)]
    alice.wait_for(ended, "completed")
    with User.newcomer(service.url, "bert", patience_s=10) as bert:
        user = bert.get("/me")["id"]
    element = alice.deploy("sweep", cpu=4, gpu=2, array={"size": 3})
    registry = {"host": "registry.example.org", "username": "a", "password": "b"}
    found = {
        "organization": organization,
        "cluster": cluster,
        "node": alice.list(f"/clusters/{cluster}/nodes")[0]["id"],
        "running": running,
        "waiting": waiting[0],
        "user": user,
        "array": alice.get(f"/deployments/{element}")["array"]["id"],
        "registry": alice.post("/registries", **registry)["id"],
        "webhook": alice.post("/webhooks", url="https://example.org/hook")["id"],
        "token": alice.post("/tokens", name="ci", scopes=["read"])["id"],
    }
    status, output = service.run("shell", "-v0", "-c", _ROWS)
    assert status == 0, output
    more: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found | more


def addresses(ids: dict[str, Any]) -> dict[str, list[str]]:
    """Return the addresses to visit of each route outside the tables of the admin."""
    own = f"/my/organizations/{ids['organization']}/"
    of_own = "/my/organizations/<int:organization_id>/"
    preview = "/admin/preview/"
    return {
        "/": ["/", "/?nowhere", f"/?array={ids['array']}"],
        "/account/": ["/account/"],
        "/account/delete/": ["/account/delete/"],
        "/account/email/": ["/account/email/"],
        "/account/forgotten/": ["/account/forgotten/"],
        "/account/password/": ["/account/password/"],
        "/account/register/": ["/account/register/"],
        "/account/reset/<uidb64>/<token>/": ["/account/reset/MQ/wrong/"],
        "/account/sessions/": ["/account/sessions/"],
        "/account/sign-in/": ["/account/sign-in/"],
        "/admin/": ["/admin/", "/admin/?span=24h"],
        "/admin/accounts/user/<id>/password/": [f"/admin/accounts/user/{ids['user']}/password/"],
        "/admin/cluster/<int:pk>/": [f"/admin/cluster/{ids['cluster']}/"],
        "/admin/clusters/cluster/<int:pk>/connect/": [
            f"/admin/clusters/cluster/{ids['cluster']}/connect/"
        ],
        "/admin/deployment/<int:pk>/logs/": [f"/admin/deployment/{ids['running']}/logs/"],
        "/admin/many/<slug:action>/": ["/admin/many/cancel/", "/admin/many/reprioritize/?q=wait"],
        "/admin/preview/<slug:action>/": [
            f"{preview}drain/?id={ids['cluster']}", f"{preview}resize/?id={ids['cluster']}",
            f"{preview}stop/?id={ids['running']}", f"{preview}move/?id={ids['running']}",
            f"{preview}reprioritize/?id={ids['waiting']}",
            f"{preview}reprioritize/?id={ids['waiting']}&priority=99",
            f"{preview}drain_node/?id={ids['node']}",
        ],
        "/admin/queue/": [
            f"/admin/queue/?group={group}" for group in ("competing", "held", "placed")
        ],
        _RUN_ALL: [_RUN_ALL],
        "/admin/search/": ["/admin/search/", "/admin/search/?q=wait", "/admin/search/?q=nonesuch"],
        "/my/clusters/<int:pk>/": [f"/my/clusters/{ids['cluster']}/"],
        "/my/clusters/<int:pk>/<slug:action>/": [f"/my/clusters/{ids['cluster']}/drain/"],
        "/my/clusters/new/": ["/my/clusters/new/"],
        "/my/deployments/<int:pk>/": [
            f"/my/deployments/{ids['running']}/", f"/my/deployments/{ids['waiting']}/",
        ],
        "/my/deployments/<int:pk>/<slug:action>/": [f"/my/deployments/{ids['running']}/stop/"],
        "/my/deployments/<int:pk>/logs/": [f"/my/deployments/{ids['running']}/logs/"],
        "/my/nodes/<int:pk>/<slug:action>/": [f"/my/nodes/{ids['node']}/drain_node/"],
        "/my/arrays/<int:pk>/<slug:action>/": [f"/my/arrays/{ids['array']}/cancel/"],
        "/my/clusters/<int:pk>/rename/": [f"/my/clusters/{ids['cluster']}/rename/"],
        "/my/deployments/<int:pk>/change/": [
            f"/my/deployments/{ids[state]}/change/" for state in ("running", "waiting")
        ],
        "/my/nodes/<int:pk>/delete/": [f"/my/nodes/{ids['node']}/delete/"],
        "/my/clusters/<int:pk>/delete/": [f"/my/clusters/{ids['cluster']}/delete/"],
        "/my/clusters/<int:pk>/nodes/new/": [f"/my/clusters/{ids['cluster']}/nodes/new/"],
        "/my/notices/": ["/my/notices/"],
        "/my/notices/<int:pk>/": [f"/my/notices/{ids['notice']}/"],
        "/my/notices/<int:pk>/delete/": [f"/my/notices/{ids['notice']}/delete/"],
        "/my/notices/new/": [
            "/my/notices/new/", f"/my/notices/new/?organization={ids['organization']}",
        ],
        "/my/notices/unsubscribe/<str:token>/": [f"/my/notices/unsubscribe/{ids['unsubscribe']}/"],
        "/my/organizations/": ["/my/organizations/"],
        of_own: [own],
        f"{of_own}delete/": [f"{own}delete/"],
        f"{of_own}members/": [f"{own}members/"],
        f"{of_own}members/<int:user_id>/remove/": [f"{own}members/{ids['user']}/remove/"],
        f"{of_own}members/<int:user_id>/role/": [f"{own}members/{ids['user']}/role/"],
        f"{of_own}members/hand-over/": [f"{own}members/hand-over/"],
        f"{of_own}members/invite/": [f"{own}members/invite/"],
        f"{of_own}registries/<int:pk>/delete/": [f"{own}registries/{ids['registry']}/delete/"],
        f"{of_own}registries/new/": [f"{own}registries/new/"],
        f"{of_own}rename/": [f"{own}rename/"],
        f"{of_own}service-accounts/new/": [f"{own}service-accounts/new/"],
        f"{of_own}settings/": [f"{own}settings/"],
        f"{of_own}usage/": [f"{own}usage/"],
        f"{of_own}webhooks/<int:pk>/": [f"{own}webhooks/{ids['webhook']}/"],
        f"{of_own}webhooks/<int:pk>/change/": [f"{own}webhooks/{ids['webhook']}/change/"],
        f"{of_own}webhooks/<int:pk>/rotate/": [f"{own}webhooks/{ids['webhook']}/rotate/"],
        f"{of_own}webhooks/<int:pk>/delete/": [f"{own}webhooks/{ids['webhook']}/delete/"],
        f"{of_own}webhooks/new/": [f"{own}webhooks/new/"],
        "/my/organizations/join/": ["/my/organizations/join/"],
        "/my/organizations/new/": ["/my/organizations/new/"],
        "/my/queue/": ["/my/queue/"],
        "/my/start/": ["/my/start/"],
        "/my/submit/": ["/my/submit/"],
        "/my/tokens/": ["/my/tokens/"],
        "/my/tokens/<int:pk>/revoke/": [f"/my/tokens/{ids['token']}/revoke/"],
        "/my/tokens/new/": ["/my/tokens/new/"],
    }  # fmt: skip


ERRORS = ["/admin/nowhere/", "/my/nowhere/"]
ANYONE = ("/account/sign-in/", "/account/register/", "/account/forgotten/", "/account/reset/")


def tables() -> list[str]:
    """Return the routes of the lists of all tables."""
    return sorted(route for route in page_routes() if MODEL.fullmatch(route))


def test_every_route_is_visited_or_no_page() -> None:
    of_tables = {f"{table}{part}" for table in tables() for part in PARTS}
    known = {*addresses(defaultdict(int)), *NO_PAGE, *of_tables}

    forgotten = {
        route
        for route in page_routes() - known
        if not any(route.startswith(start) and "(?P" in start for start in NO_PAGE)
    }

    assert forgotten == set()


class Visitor:
    """A browser that looks at pages and collects what is wrong with them."""

    def __init__(self, context: BrowserContext, axe: str) -> None:
        self.page: Page = context.new_page()
        self.axe = axe
        self.visited = 0
        self.wrong: list[str] = []

    def visit(self, address: str, *, expected: int = 200) -> None:
        schemes: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
        for scheme in schemes:
            # Loaded again for each scheme: not all browsers recompute inherited colours.
            self.page.emulate_media(color_scheme=scheme)
            response = self.page.goto(address)
            assert response is not None
            if response.status != expected:
                self.wrong.append(f"{address}: {response.status}")
                return
            self.wait_for(scheme)
            self.page.evaluate(self.axe)
            only: Any = {"type": "tag", "values": TAGS} if scheme == "light" else ["color-contrast"]
            found = self.page.evaluate(_RUN, {"runOnly": only})
            self.wrong += [f"{address} ({scheme}): {each}" for each in found]
        self.measure(address)
        self.visited += 1

    def wait_for(self, scheme: Literal["light", "dark"]) -> None:
        """Wait until the page is drawn in the scheme."""
        self.page.wait_for_function(_IS_SHOWN, arg=scheme == "dark")

    def measure(self, address: str) -> None:
        for width in (1280, 390, 320):
            self.page.set_viewport_size({"width": width, "height": 900})
            sizes = self.page.evaluate(_SIZES)
            if sizes["page"] > width or sizes["list"] > 1:
                self.wrong.append(f"{address}: too wide for {width}: {sizes}")
            if width == 390 and sizes["row"] > _TALLEST_ROW:
                self.wrong.append(f"{address}: a row is {sizes['row']:.0f} pixels tall")
        self.page.set_viewport_size({"width": 1280, "height": 900})

    def visit_table(self, table: str) -> None:
        """Visit the list, its form for a new row, and the first row's form and deletion."""
        self.visit(table)
        rows = self.page.locator(
            "#result_list a[href*='/change/'], #result_list a[href^='/admin/cluster/']"
        )
        row = rows.first.get_attribute("href") if rows.count() else None
        if row is None:
            self.wrong.append(f"{table}: it has no row to visit")
            return
        form = row.split("?")[0]
        number = re.findall(r"/([^/]+)/(?:change/)?$", form)[0]
        for address in (f"{table}{number}/change/", f"{table}{number}/change/?edit", f"{table}add/",
                        f"{table}{number}/delete/"):  # fmt: skip
            if self.page.request.get(address).status == 200:
                self.visit(address)


@pytest.fixture(scope="module")
def axe(node_tools: Path) -> str:
    return (node_tools.parent / "axe-core" / "axe.min.js").read_text()


def visitor(chromium: Browser, service: Service, axe: str, **options: Any) -> Iterator[Visitor]:
    context = chromium.new_context(
        base_url=service.url, bypass_csp=True, reduced_motion="reduce",
        viewport={"width": 1280, "height": 900}, **options,
    )  # fmt: skip
    yield Visitor(context, axe)
    context.close()


@pytest.fixture
def operator(chromium: Browser, service: Service, session: Path, axe: str) -> Iterator[Visitor]:
    yield from visitor(chromium, service, axe, storage_state=session)


@pytest.fixture
def member(chromium: Browser, service: Service, alice: User, axe: str) -> Iterator[Visitor]:
    for looking in visitor(chromium, service, axe):
        looking.page.goto("/account/sign-in/")
        looking.page.locator("input[name=username]").fill("alice")
        looking.page.locator("input[name=password]").fill(PASSWORD)
        looking.page.get_by_role("button", name="Sign in").click()
        looking.page.wait_for_url("**/")
        yield looking


@pytest.fixture
def anyone(chromium: Browser, service: Service, axe: str) -> Iterator[Visitor]:
    yield from visitor(chromium, service, axe)


def of(ids: dict[str, Any], *, operators: bool) -> list[str]:
    every = [address for each in addresses(ids).values() for address in each]
    return [a for a in every if a.startswith("/admin") == operators and not a.startswith(ANYONE)]


def test_the_pages_of_operators_are_accessible_and_fit(
    operator: Visitor, ids: dict[str, Any]
) -> None:
    for address in of(ids, operators=True):
        operator.visit(address)
    operator.visit(ERRORS[0], expected=404)

    assert operator.wrong == [], json.dumps(operator.wrong, indent=1)


def test_the_tables_of_the_admin_are_accessible_and_fit(
    operator: Visitor, ids: dict[str, Any]
) -> None:
    for table in tables():
        operator.visit_table(table)

    assert operator.wrong == [], json.dumps(operator.wrong, indent=1)


def test_the_pages_of_members_are_accessible_and_fit(member: Visitor, ids: dict[str, Any]) -> None:
    for address in of(ids, operators=False):
        member.visit(address)
    member.visit(ERRORS[1], expected=404)

    assert member.wrong == [], json.dumps(member.wrong, indent=1)


def test_the_pages_before_the_sign_in_are_accessible_and_fit(
    anyone: Visitor, ids: dict[str, Any]
) -> None:
    for address in [a for each in addresses(ids).values() for a in each if a.startswith(ANYONE)]:
        anyone.visit(address)

    assert anyone.wrong == [], json.dumps(anyone.wrong, indent=1)
