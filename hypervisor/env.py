"""Every setting of the environment: name, type, bounds, default and meaning.

A value comes from the process environment, else from `.env` in the project's root, else from the
`env` file that `manage.py up` writes into HYPERVISOR_HOME.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from dotenv import dotenv_values

from hypervisor import mail_server
from hypervisor.base.numbers import read_whole
from scheduling.planner.policy import Policy

ROOT = Path(__file__).resolve().parent.parent
DEVELOPMENT_KEY = "development-only-key-that-production-refuses-to-start-with"
DEVELOPMENT_CREDENTIALS_KEY = "ZGV2ZWxvcG1lbnQtb25seS1rZXktb2YtMzItYnl0ZXM="


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the settings table; a `default` of None means that it is required."""

    name: str
    kind: Literal["str", "int", "bool", "list", "rate"]
    default: str | int | bool | None
    meaning: str
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()

    def read(self, text: str | None) -> Any:
        """Return the value that the text stands for; None stands for the default.

        Raises ValueError with a sentence for people.
        """
        if text is None:
            if self.default is None:
                raise ValueError("Must be given.")
            return self.read(str(self.default))
        if self.kind == "list":
            return list(filter(None, text.split(",")))
        if self.kind == "bool":
            return _read_flag(text)
        if self.kind == "int":
            return self._read_number(text)
        if self.kind == "rate" and not _RATE.fullmatch(text):
            raise ValueError("Must be a number for each second, minute, hour or day: 20/hour.")
        if self.choices and text not in self.choices:
            raise ValueError(f"Must be one of: {', '.join(self.choices)}.")
        return text

    def _read_number(self, text: str) -> int:
        number, low, high = read_whole(text), self.minimum, self.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            bounds = {"at least": low, "at most": high}
            named = [f"{word} {bound}" for word, bound in bounds.items() if bound is not None]
            raise ValueError(f"Must be {' and '.join(named)}.")
        return number


_FLAGS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}


def _read_flag(text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise ValueError("Must be `true` or `false`.") from None


def of_thresholds(policy: type[Policy]) -> list[Setting]:
    """Return a row for each threshold of the scheduler."""
    return [
        Setting(each.setting, "str", each.default, each.meaning, choices=each.choices)
        if each.choices
        else Setting(each.setting, "int", each.default, each.meaning, each.at_least, each.at_most)
        for each in policy.thresholds()
    ]


_RATE = re.compile(r"[1-9][0-9]*/(s|sec|second|m|min|minute|h|hour|d|day)")

_CREDENTIALS_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
_MAKE_CREDENTIALS_KEY = "python3 -c 'import secrets; print(secrets.token_urlsafe(32) + \"=\")'"

_SHORTEST_HISTORY_DAYS = 8
"""Longer than an engine may be silent (`deployments.runtime.orphans`), and than it takes until the
statistics of a day are complete (`scheduling.monitoring.days`)."""

SETTINGS = (
    Setting("ENVIRONMENT", "str", "production", "`production` or `development`.",
            choices=("production", "development")),
    Setting("DEBUG", "bool", False, "Django's debug pages; refused in production."),
    Setting("SECRET_KEY", "str", "", "Signs sessions and tokens; 32 characters or more."),
    Setting("CREDENTIALS_KEYS", "list", "",
            "Keys, separated by commas, that encrypt engine credentials, passwords of"
            " registries, secrets of webhooks and secret values of `env`:"
            " the first one encrypts, all of them decrypt."),
    Setting("SECRETS_NEEDED", "str", "all",
            "Secrets that a process needs in production: `all` (SECRET_KEY and CREDENTIALS_KEYS),"
            " `credentials` (CREDENTIALS_KEYS only, for the `engines` worker) or `none` (for the"
            " other workers).",
            choices=("all", "credentials", "none")),
    Setting("DATABASE_URL", "str", None, "PostgreSQL, `postgres://user:password@host:port/name`."),
    Setting("REDIS_URL", "str", None, "Broker and cache, `redis://:password@host:port/0`."),
    Setting("HYPERVISOR_HOME", "str", ".hypervisor",
            "Folder in which `manage.py up` keeps the data and logs of its servers."),
    Setting("HOST", "str", "127.0.0.1", "Address that `manage.py up` and Compose listen on."),
    Setting("PORT", "int", 8000, "Port that `manage.py up` and Compose listen on.", 1, 65535),
    Setting("ALLOWED_HOSTS", "list", "localhost,127.0.0.1,[::1]",
            "Host names that the service answers to, separated by commas."),
    Setting("CSRF_TRUSTED_ORIGINS", "list", "",
            "Origins whose forms the admin accepts, such as `https://example.org`, separated by"
            " commas."),
    Setting("SECURE_PROXY", "bool", False,
            "Whether a proxy in front terminates TLS and sets `X-Forwarded-Proto`: cookies become"
            " secure."),
    Setting("PUBLIC_URL", "str", "http://localhost:8000",
            "Address at which people reach the service; links in mails begin with it."),
    Setting("MAIL_URL", "str", "",
            "The mail server: `smtp://user:password@host:587` (STARTTLS),"
            " `smtps://user:password@host:465` (TLS), or `smtp://host:25?tls=none` (unencrypted)."
            " Empty: no mail is sent. Only the `engines` worker needs it."),
    Setting("MAIL_ENABLED", "bool", False,
            "Whether the `engines` worker has a MAIL_URL, for the processes that have none: Compose"
            " sets it."),
    Setting("MAIL_FROM", "str", "MLOps Hypervisor <hypervisor@localhost>",
            "The sender of mails."),
    Setting("METRICS_TOKEN", "str", "",
            "The bearer token with which Prometheus reads `/metrics`, 32 characters or more."
            " Without one, only operators read it, and in development also programs on this"
            " machine."),
    Setting("METRICS_LIMIT", "int", 1000,
            "How many organizations, and how many clusters, `/metrics` lists: the oldest ones.",
            1, 100000),
    Setting("TRACES_ENDPOINT", "str", "",
            "Where traces of scheduling cycles go: a collector's address for OTLP over HTTP, such"
            " as `http://localhost:4318/v1/traces`. Empty: none are made."),
    Setting("LOG_LEVEL", "str", "INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`.",
            choices=("DEBUG", "INFO", "WARNING", "ERROR")),
    Setting("LOG_FORMAT", "str", "json", "`json` or `console`.", choices=("json", "console")),
    Setting("SESSION_MAX_HOURS", "int", 168,
            "How long a session of a browser lasts at most.", 1, 8760),
    Setting("SESSION_IDLE_MINUTES", "int", 1440,
            "How long a session lasts without a request; an open page that refreshes itself makes"
            " some.", 5, 525600),
    Setting("ACCESS_TOKEN_EXPIRE_MINUTES", "int", 30, "Lifetime of an access token.", 1, 1440),
    Setting("REFRESH_TOKEN_EXPIRE_DAYS", "int", 7, "Lifetime of a refresh token.", 1, 365),
    Setting("REFRESH_TOKEN_GRACE_SECONDS", "int", 0,
            "How long a used refresh token still returns the same successor, for clients that lost"
            " the response; 0: its reuse ends the log-in at once.", 0, 60),
    Setting("TOKEN_MAX_DAYS", "int", 366, "The longest lifetime of an API token.", 1, 36500),
    Setting("MAX_TOKENS_PER_USER", "int", 50,
            "API tokens of one user, without those that have expired; 0: no limit.", 0),
    Setting("OIDC_ISSUER", "str", "",
            "The issuer of an OpenID Connect provider, such as"
            " `https://login.example.org/realms/main`, at which people sign in. Empty: none."),
    Setting("OIDC_CLIENT_ID", "str", "",
            "The id under which the provider knows this service."),
    Setting("OIDC_CLIENT_SECRET", "str", "",
            "The secret of that client; only the web server needs it. Empty for a public"
            " client."),
    Setting("OIDC_NAME", "str", "single sign-on",
            "What the button to sign in calls the provider."),
    Setting("OIDC_SCOPES", "str", "openid profile email",
            "The scopes that are asked for, separated by blanks."),
    Setting("OIDC_GROUPS_CLAIM", "str", "groups",
            "The claim with the groups `hypervisor:ORGANIZATION:ROLE` that make members; a"
            " dot leads into an object."),
    Setting("LOCAL_SIGN_IN", "str", "on",
            "Who may sign in with a password: `on`: everybody; `superusers`: only superusers, the"
            " others through the provider.", choices=("on", "superusers")),
    Setting("REGISTRATION", "str", "open",
            "`open`: anyone may register; `invite`: registration requires an organization's invite"
            " code; `closed`: only operators add users.", choices=("open", "invite", "closed")),
    Setting("RATE_LIMIT_REGISTER", "rate", "30/min", "Registrations from one address."),
    Setting("RATE_LIMIT_TOKEN", "rate", "60/min",
            "Log-ins from one address, to the API and the pages together."),
    Setting("RATE_LIMIT_JOIN", "rate", "30/min", "Invite codes that one user may try."),
    Setting("RATE_LIMIT_MAIL", "rate", "20/hour",
            "Mails about forgotten passwords and new addresses that one address may ask for."),
    Setting("LOCKOUT_FAILURES", "int", 10,
            "Wrong passwords for a user from one address until log-ins as that user from that"
            " address are locked out.", 1, 1000),
    Setting("LOCKOUT_MINUTES", "int", 15, "How long such a lockout lasts.", 1, 10080),
    Setting("MAX_ORGANIZATIONS_PER_USER", "int", 100,
            "Organizations that one user may own by founding them; 0: no limit.", 0),
    Setting("MAX_SERVICE_ACCOUNTS_PER_ORGANIZATION", "int", 100,
            "Service accounts of one organization; 0: no limit.", 0),
    Setting("MAX_CLUSTERS_PER_ORGANIZATION", "int", 1000,
            "Clusters of one organization; 0: no limit.", 0),
    Setting("MAX_NODES_PER_ORGANIZATION", "int", 5000,
            "Nodes of all clusters of one organization; 0: no limit.", 0),
    Setting("MAX_PENDING_PER_USER", "int", 100000,
            "Pending deployments of one user; 0: no limit.", 0),
    Setting("MAX_PENDING_PER_ORGANIZATION", "int", 200000,
            "Pending deployments of one organization; 0: no limit.", 0),
    Setting("MAX_ARRAY_SIZE", "int", 10000,
            "Elements of all arrays in one submission, at most 100,000.", 1, 100_000),
    Setting("SCHEDULER_INTERVAL", "int", 30,
            "Initial number of seconds between periodic cycles; operators change it in the admin.",
            1, 3600),
    Setting("RECONCILE_INTERVAL", "int", 5,
            "Initial number of seconds between periodic comparisons with what the engines run;"
            " operators change it in the admin.", 1, 3600),
    *of_thresholds(Policy),
    Setting("SCHEDULER_COPY_SECONDS", "int", 600,
            "How long a process brings its copy of an organization's deployments up to date by what"
            " changed, before it reads all of them again; 0: it always reads all of them.",
            0, 86400),
    Setting("CYCLE_HISTORY_DAYS", "int", 14, "How long records of scheduling cycles are kept.",
            1, 3650),
    Setting("EVENT_HISTORY_DAYS", "int", 365,
            "How long events are kept; those of deployments that have not ended are not deleted.",
            _SHORTEST_HISTORY_DAYS, 3650),
    Setting("DEPLOYMENT_HISTORY_DAYS", "int", 0,
            "How long ended deployments are kept, with their runs and output, and earlier runs of"
            " the others; 0: for ever, otherwise at least 8.", 0, 3650),
    Setting("AUDIT_HISTORY_DAYS", "int", 0,
            "How long the audit trail is kept; 0: for ever.", 0, 3650),
    Setting("SAMPLE_HISTORY_DAYS", "int", 7,
            "How long the dashboard's figures per minute are kept; those per day are not deleted.",
            1, 3650),
    Setting("STOP_GRACE_SECONDS", "int", 10,
            "Time between asking a container to stop and killing it.", 0, 3600),
    Setting("STARTS_AT_ONCE", "int", 8,
            "How many containers a worker starts at the same time on one engine.", 1, 50),
    Setting("LOST_CONTACT_SECONDS", "int", 30,
            "Contact with an engine is lost after this long without an answer: nothing new is"
            " placed on its cluster.", 1, 3600),
    Setting("LOST_CONTACT_REQUEUE_SECONDS", "int", 0,
            "After this long without contact, the cluster's deployments are placed elsewhere,"
            " although their containers may still run; 0: only after an operator declares the"
            " cluster lost.", 0),
    Setting("LOG_KEEP_KIB", "int", 64,
            "How much of the end of a container's output is kept after the container is removed.",
            0, 16384),
    Setting("LOG_KEEP_DAYS", "int", 14, "How long that output is kept.", 1, 3650),
    Setting("LOG_FOLLOWERS", "int", 16,
            "Logs that callers may follow at once in each web process: at most a quarter of them by"
            " one user and half by one organization.",
            1, 1000),
    Setting("EVENT_FOLLOWERS", "int", 1000,
            "Callers that may follow events at once in each process that serves them: at most a"
            " quarter of them by one user and half by one organization.",
            1, 10000),
    Setting("EVENTS_URL", "str", "",
            "Address of the `events` process, such as `http://events:8000`, to which the web server"
            " forwards calls that follow events; empty: it serves them itself."),
    Setting("MAX_WEBHOOKS_PER_ORGANIZATION", "int", 20,
            "Webhooks of one organization; 0: no limit.", 0),
    Setting("WEBHOOK_ALLOWED_NETWORKS", "list", "",
            "Networks that webhooks may call although they are not public, also without TLS, such"
            " as `10.1.0.0/16`, separated by commas."),
    Setting("WEBHOOK_FAILING_DAYS", "int", 5,
            "Days after which a webhook is disabled if all attempts fail.", 1, 365),
    Setting("WEBHOOK_HISTORY_DAYS", "int", 30,
            "How long ended deliveries of webhooks are listed.", 1, 3650),
    Setting("NOTICES_PER_HOUR", "int", 20,
            "Messages with notices that one recipient gets in an hour; the last one has the rest.",
            1, 1000),
    Setting("NOTICE_HISTORY_DAYS", "int", 30, "How long notices that were sent are listed.",
            1, 3650),
    Setting("MAX_NOTICE_RULES", "int", 20,
            "Rules for notices of one person, and of one organization; 0: no limit.", 0),
)  # fmt: skip


def read() -> dict[str, Any]:
    """Return the value of every setting by name.

    Raises ImproperlyConfigured, naming each bad value and its meaning.
    """
    _fill_environment()
    values: dict[str, Any] = {}
    problems = []
    for setting in SETTINGS:
        try:
            values[setting.name] = setting.read(os.environ.get(setting.name))
        except ValueError as error:
            problems.append(f"{setting.name}: {error} {setting.meaning}")
    problems = problems or _refusals(values)
    if problems:
        raise ImproperlyConfigured("Bad settings:\n" + "\n".join(f"  {p}" for p in problems))
    return values


def _fill_environment() -> None:
    """Add the files' values to the process environment, for this process and its children.

    An empty value counts as missing; an empty variable of the process environment hides the value
    in `.env`.
    """
    names = [setting.name for setting in SETTINGS]
    chosen = dotenv_values(ROOT / ".env")
    for name in names:
        os.environ.setdefault(name, chosen.get(name) or "")
    running = dotenv_values(ROOT / (os.environ["HYPERVISOR_HOME"] or ".hypervisor") / "env")
    for name in names:
        os.environ[name] = os.environ[name] or running.get(name) or ""
        if not os.environ[name]:
            del os.environ[name]


def _bad_networks(networks: Iterable[str]) -> Iterator[str]:
    for text in networks:
        try:
            ip_network(text)
        except ValueError as error:
            yield (
                f"WEBHOOK_ALLOWED_NETWORKS: {error}. Give networks such as 10.1.0.0/16 or"
                " fd00:1::/64."
            )


def _bad_addresses(values: Mapping[str, Any]) -> Iterator[str]:
    try:
        mail_server.read(values["MAIL_URL"])
    except ValueError as error:
        yield f"MAIL_URL: {error}"
    yield from _bad_provider(values)
    public = urlsplit(values["PUBLIC_URL"])
    if public.scheme not in ("http", "https") or not public.hostname or public.path.strip("/"):
        yield "PUBLIC_URL: Give the address without a path, such as https://hypervisor.example.org."


def _bad_provider(values: Mapping[str, Any]) -> Iterator[str]:
    if not values["OIDC_ISSUER"]:
        if values["LOCAL_SIGN_IN"] != "on":
            yield "LOCAL_SIGN_IN: Nobody else could sign in: set OIDC_ISSUER as well."
        return
    issuer = urlsplit(values["OIDC_ISSUER"])
    is_here = issuer.hostname in ("localhost", "127.0.0.1", "::1")
    is_tried = is_here and values["ENVIRONMENT"] == "development"
    if not issuer.hostname or not (
        issuer.scheme == "https" or (issuer.scheme == "http" and is_tried)
    ):
        yield "OIDC_ISSUER: Give an address that begins with https://."
    if not values["OIDC_CLIENT_ID"]:
        yield "OIDC_CLIENT_ID: Give the id under which the provider knows this service."
    if "openid" not in values["OIDC_SCOPES"].split():
        yield "OIDC_SCOPES: One of them has to be `openid`."


def _refusals(values: Mapping[str, Any]) -> list[str]:
    """Return the reasons not to start a service with these values, each of which is valid alone."""
    problems = [
        f"CREDENTIALS_KEYS: key {number} is not a valid key. Make one with: {_MAKE_CREDENTIALS_KEY}"
        for number, key in enumerate(values["CREDENTIALS_KEYS"], start=1)
        if not _CREDENTIALS_KEY.fullmatch(key)
    ]
    problems += _bad_networks(values["WEBHOOK_ALLOWED_NETWORKS"])
    problems += _bad_addresses(values)
    if 0 < values["DEPLOYMENT_HISTORY_DAYS"] < _SHORTEST_HISTORY_DAYS:
        problems.append(
            f"DEPLOYMENT_HISTORY_DAYS: Must be 0 or at least {_SHORTEST_HISTORY_DAYS}: until then,"
            " an engine that is silent may still have its containers."
        )
    if values["TRACES_ENDPOINT"] and not find_spec("opentelemetry"):
        problems.append("TRACES_ENDPOINT: needs packages. Install them: pip install '.[traces]'")
    if 0 < len(values["METRICS_TOKEN"]) < 32:
        problems.append(
            "METRICS_TOKEN: needs 32 characters or more. Make one with:"
            " python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    if values["ENVIRONMENT"] != "production":
        return problems
    if values["DEBUG"]:
        problems.append(
            "DEBUG: must be off in production. Unset it, or set ENVIRONMENT=development."
        )
    needed = values["SECRETS_NEEDED"]
    key = values["SECRET_KEY"]
    if (key or needed == "all") and (key == DEVELOPMENT_KEY or len(key) < 32):
        problems.append(
            "SECRET_KEY: production needs its own key of 32 characters or more. Make one with:"
            " python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    keys = values["CREDENTIALS_KEYS"]
    if (keys or needed != "none") and not set(keys) - {DEVELOPMENT_CREDENTIALS_KEY}:
        problems.append(
            "CREDENTIALS_KEYS: production needs its own key. Make one with:"
            f" {_MAKE_CREDENTIALS_KEY}"
        )
    return problems
