"""A member chooses what to be told, and sees what became of a test."""

from playwright.sync_api import Browser, expect

from benchmarks.service import Service
from tests.browser.conftest import SignIn, watch
from tests.support.browser import Screenshot
from tests.support.service import User

SOON_MS = 60_000
"""Beat, the engines worker and a refresh of the page take much less than this."""


def test_a_member_adds_a_rule_tries_it_and_mutes_it(
    service: Service, sign_in: SignIn, screenshot: Screenshot
) -> None:
    with User.newcomer(service.url, "nina", patience_s=10) as nina:
        nina.post("/organizations", name="Nina's")
    page = sign_in("nina", first="/my/start/")
    page.get_by_role("link", name="Notices").click()
    expect(page.get_by_text("This service sends no mail")).to_be_visible()
    expect(page.get_by_role("button", name="Send me one now")).to_be_disabled()

    page.get_by_role("link", name="New rule", exact=True).first.click()
    screenshot(page, "notice-rule")
    page.get_by_label("Slack-compatible address").check()
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("Give the URL to which notices are sent.")).to_be_visible()
    page.get_by_label("It ended with success.").check()
    page.get_by_role("textbox", name="Address").fill("https://hooks.invalid/services/T00/B00")
    page.get_by_role("button", name="Add").click()

    rules = page.get_by_role("table", name="My rules")
    expect(rules).to_contain_text("message to hooks.invalid")
    rules.get_by_role("button", name="Test").click()
    sent = page.get_by_role("row").filter(has_text="This is a test, which nina asked for.")
    expect(sent).to_contain_text("The name of the host cannot be resolved.", timeout=SOON_MS)
    screenshot(page, "notices")

    rules.get_by_role("button", name="Mute").click()
    expect(rules).to_contain_text("muted")
    rules.get_by_role("link", name="Delete…").click()
    expect(page.get_by_text("Nothing is sent to hooks.invalid any more.")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The rule is deleted.")).to_be_visible()
    expect(page.get_by_text("by default")).to_be_visible()


def test_a_link_in_a_mail_stops_mails_without_a_sign_in(
    service: Service, chromium: Browser, screenshot: Screenshot
) -> None:
    with User.newcomer(service.url, "nils", patience_s=10) as nils:
        user = nils.get("/me")["id"]
    code = f"from deployments.notices import mail; print(mail.token_of({user}))"
    status, token = service.run("shell", "-v0", "-c", code)
    assert status == 0, token
    context = chromium.new_context(base_url=service.url)
    page = context.new_page()
    errors = watch(page, service.url)

    page.goto(f"/my/notices/unsubscribe/{token.strip()}/")
    screenshot(page, "unsubscribe")
    page.get_by_role("button", name="No more mails").click()

    expect(page.get_by_text("You get no more mails with notices")).to_be_visible()
    context.close()
    assert errors == []
