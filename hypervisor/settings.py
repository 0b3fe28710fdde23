"""All of Django's settings; values that differ between installations come from `env`."""

import logging
import sys
from datetime import timedelta
from ipaddress import ip_network
from secrets import token_urlsafe
from typing import Any

import dj_database_url
import structlog
from django.templatetags.static import static
from django.utils.functional import lazy

from hypervisor import env, mail_server, sessions, version
from hypervisor.base import collector
from scheduling.planner.policy import Policy

# Django imports the apps next; the app `hypervisor` resumes it when they are ready.
collector.pause()

_values = env.read()
static_lazy = lazy(static, str)

# --- Core -----------------------------------------------------------------------------------------
BASE_DIR = env.ROOT
PRODUCTION: bool = _values["ENVIRONMENT"] == "production"
DEBUG: bool = _values["DEBUG"]
# In production, a process without these keys signs nothing that another process verifies, and
# encrypts nothing.
SECRET_KEY: str = _values["SECRET_KEY"] or (
    token_urlsafe(48) if PRODUCTION else env.DEVELOPMENT_KEY
)
CREDENTIALS_KEYS: list[str] = _values["CREDENTIALS_KEYS"] or (
    [] if PRODUCTION else [env.DEVELOPMENT_CREDENTIALS_KEY]
)
ALLOWED_HOSTS: list[str] = _values["ALLOWED_HOSTS"]
ROOT_URLCONF = "hypervisor.urls"
WSGI_APPLICATION = "hypervisor.wsgi.application"
APPEND_SLASH = True
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False
FORMAT_MODULE_PATH = ["hypervisor.formats"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    # Only processes that serve pages load the console's; see `hypervisor.console.urls`.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    # Only for the web servers of the former release, which run until an upgrade is complete.
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "axes",
    "django_celery_beat",
    "django_filters",
    "django_structlog",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "pghistory",
    "pgtrigger",
    "rest_framework",
    # Only for refresh tokens that the former release issued.
    "rest_framework_simplejwt.token_blacklist",
    "accounts",
    "orgs",
    "clusters",
    "deployments",
    "scheduling",
    "hypervisor",
    "hypervisor.ui",
    "hypervisor.console",
    "hypervisor.portal",
    *(["benchmarks"] if (BASE_DIR / "benchmarks").is_dir() else []),
]

MIDDLEWARE = [
    "hypervisor.headers.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "hypervisor.headers.NoStoreMiddleware",
    "hypervisor.csp.ContentSecurityPolicyMiddleware",
    "hypervisor.pages.PageSessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "hypervisor.pages.PageAuthenticationMiddleware",
    "hypervisor.pages.PageMessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "hypervisor.headers.LogMiddleware",
    "accounts.audit.triggers.AuditMiddleware",
    "axes.middleware.AxesMiddleware",
    "hypervisor.errors.RefusalMiddleware",
    "hypervisor.errors.PageMethodMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # These templates override those of the same name in packages, and extend them.
        "DIRS": [BASE_DIR / "hypervisor" / "console" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"
# Static files are collected only in the image; elsewhere they are served from the packages.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not PRODUCTION

# --- Database and cache ---------------------------------------------------------------------------
_database: dict[str, Any] = {
    **dj_database_url.parse(
        _values["DATABASE_URL"],
        engine="hypervisor.base.postgresql",
        conn_max_age=600,
        conn_health_checks=True,
    )
}
# Their sessions would end with the transaction at a pooler in transaction mode.
_database["DISABLE_SERVER_SIDE_CURSORS"] = True
_database["GIVEN_OPTIONS"] = _database.get("OPTIONS", {})
# The limits of commands; the web server and the workers set theirs when they start.
_database["OPTIONS"] = sessions.options(sessions.COMMAND, _database["GIVEN_OPTIONS"])
DATABASES = {"default": _database}
REDIS_URL: str = _values["REDIS_URL"]
CACHES = {
    "default": {
        "BACKEND": "hypervisor.base.cache.Cache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "hypervisor",
        "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 0.5},
    },
}

# --- People ---------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
SESSION_ENGINE = "accounts.sessions.engine"
SESSION_LIFETIME = timedelta(hours=_values["SESSION_MAX_HOURS"])
SESSION_IDLE = timedelta(minutes=_values["SESSION_IDLE_MINUTES"])
SESSION_COOKIE_AGE = int(SESSION_LIFETIME.total_seconds())
LOGIN_URL = "account:sign_in"
LOGIN_REDIRECT_URL = "portal:deployments"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "accounts.backends.LocalSignIn",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "accounts.passwords.VisibleLengthValidator"},
    {"NAME": "accounts.passwords.EndOfAccess"},
    *(
        {"NAME": f"django.contrib.auth.password_validation.{name}"}
        for name in (
            "UserAttributeSimilarityValidator",
            "CommonPasswordValidator",
            "NumericPasswordValidator",
        )
    ),
]
# How long the link of a forgotten password is valid.
PASSWORD_RESET_TIMEOUT = 3600
AXES_FAILURE_LIMIT: int = _values["LOCKOUT_FAILURES"]
AXES_COOLOFF_TIME = timedelta(minutes=_values["LOCKOUT_MINUTES"])
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
# Otherwise an attacker could extend the lockout of the real owner without end.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_CALLABLE = "accounts.lockout.answer"
AXES_USERNAME_CALLABLE = "accounts.lockout.username"
AXES_CLIENT_IP_CALLABLE = "accounts.lockout.client_address"
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=_values["ACCESS_TOKEN_EXPIRE_MINUTES"]),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=_values["REFRESH_TOKEN_EXPIRE_DAYS"]),
    # A changed password ends all tokens.
    "CHECK_REVOKE_TOKEN": True,
}

LOCAL_SIGN_IN: str = _values["LOCAL_SIGN_IN"]
OIDC_ISSUER: str = _values["OIDC_ISSUER"]
OIDC_CLIENT_ID: str = _values["OIDC_CLIENT_ID"]
OIDC_CLIENT_SECRET: str = _values["OIDC_CLIENT_SECRET"]
OIDC_NAME: str = _values["OIDC_NAME"]
OIDC_SCOPES: str = _values["OIDC_SCOPES"]
OIDC_GROUPS_CLAIM: str = _values["OIDC_GROUPS_CLAIM"]
REGISTRATION: str = _values["REGISTRATION"]
REFRESH_TOKEN_GRACE_SECONDS: int = _values["REFRESH_TOKEN_GRACE_SECONDS"]
TOKEN_MAX_DAYS: int = _values["TOKEN_MAX_DAYS"]
MAX_TOKENS_PER_USER: int = _values["MAX_TOKENS_PER_USER"]
MAX_ORGANIZATIONS_PER_USER: int = _values["MAX_ORGANIZATIONS_PER_USER"]
MAX_SERVICE_ACCOUNTS_PER_ORGANIZATION: int = _values["MAX_SERVICE_ACCOUNTS_PER_ORGANIZATION"]
MAX_CLUSTERS_PER_ORGANIZATION: int = _values["MAX_CLUSTERS_PER_ORGANIZATION"]
MAX_NODES_PER_ORGANIZATION: int = _values["MAX_NODES_PER_ORGANIZATION"]
MAX_PENDING_PER_USER: int = _values["MAX_PENDING_PER_USER"]
MAX_PENDING_PER_ORGANIZATION: int = _values["MAX_PENDING_PER_ORGANIZATION"]
MAX_ARRAY_SIZE: int = _values["MAX_ARRAY_SIZE"]

# --- Mail -----------------------------------------------------------------------------------------
PUBLIC_URL: str = _values["PUBLIC_URL"].rstrip("/")
MAIL_IS_SENT: bool = _values["MAIL_ENABLED"] or bool(_values["MAIL_URL"])
globals().update(mail_server.read(_values["MAIL_URL"]))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _values["MAIL_FROM"]

# --- Web security ---------------------------------------------------------------------------------
CSRF_FAILURE_VIEW = "hypervisor.errors.forged"
CSRF_TRUSTED_ORIGINS: list[str] = _values["CSRF_TRUSTED_ORIGINS"]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if _values["SECURE_PROXY"]:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    # With this prefix, no other host and no page without TLS can set the cookie.
    SESSION_COOKIE_NAME = "__Host-sessionid"

# --- REST API -------------------------------------------------------------------------------------
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["orgs.tokens.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "orgs.tokens.scopes.WithinScope",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["hypervisor.rest.parsing.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "hypervisor.openapi.calls.Schema",
    "DEFAULT_PAGINATION_CLASS": "hypervisor.rest.pagination.KeysetPagination",
    "DEFAULT_FILTER_BACKENDS": [
        "hypervisor.rest.filters.StrictFilterBackend",
        "hypervisor.rest.filters.StrictOrderingFilter",
    ],
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
    # Without a trusted proxy in front, the caller can put anything into X-Forwarded-For.
    "NUM_PROXIES": 1 if _values["SECURE_PROXY"] else 0,
    "DEFAULT_THROTTLE_RATES": {
        "register": _values["RATE_LIMIT_REGISTER"],
        "token": _values["RATE_LIMIT_TOKEN"],
        "join": _values["RATE_LIMIT_JOIN"],
        "mail": _values["RATE_LIMIT_MAIL"],
    },
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
DRF_STANDARDIZED_ERRORS: dict[str, Any] = {
    "EXCEPTION_HANDLER_CLASS": "hypervisor.errors.DomainErrorHandler",
    "ENABLE_IN_DEBUG_FOR_UNHANDLED_EXCEPTIONS": True,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": version.NAME,
    "VERSION": version.VERSION,
    "DESCRIPTION": "A preemptive scheduler for teams that share GPU clusters. Create a user at"
    " `/register`, then press Authorize. All errors have the same format. Lists have pages: follow"
    " `next` until it is null; no row is lost or repeated while others are created or deleted."
    " Unknown, repeated and empty parameters and unknown and repeated fields are refused."
    " Answers may get more fields: ignore those that you do not know. A method that a path does not"
    " have is a 405 with `Allow`.",
    "LICENSE": {"name": "MIT", "url": "https://spdx.org/licenses/MIT.html"},
    "SERVERS": [{"url": "/", "description": "This service."}],
    "TAGS": [
        {"name": "authentication", "description": "Users and their tokens."},
        {"name": "clusters", "description": "Supply: fixed capacity to run deployments on."},
        {"name": "deployments", "description": "Demand: containers to run, and their history."},
        {"name": "events", "description": "What happens, to be followed by programs."},
        {"name": "notices", "description": "Messages to people about their deployments."},
        {"name": "organizations", "description": "Groups of users who share clusters; roles."},
        {"name": "registries", "description": "Log-ins to pull images with."},
        {"name": "webhooks", "description": "Events that are sent to an address."},
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ClusterState": "clusters.models.Cluster.State",
        "ConsequenceKind": "scheduling.planner.compare.KINDS",
        "DeliveryStatus": "orgs.models.Delivery.Status",
        "DeploymentStatus": "deployments.choices.Status",
        "Driver": "clusters.drivers.kinds.choices",
        "DryRunOutcome": ["run", "preempt", "wait"],
        "EventKind": "orgs.feed.kinds.CHOICES",
        "EventSubject": "orgs.models.Event.Subject",
        "ErrorType": ["validation_error", "client_error", "server_error"],
        "ForecastCode": "scheduling.insight.forecast.CODES",
        "NoticeChannel": "deployments.notices.kinds.Channel",
        "NoticeKind": "deployments.notices.kinds.Kind",
        "NoticeScope": "deployments.notices.kinds.Scope",
        "NoticeStatus": "deployments.models.NoticeMessage.Status",
        "NodeState": "clusters.models.Node.State",
        "OnDependencyFailure": "deployments.choices.OnDependencyFailure",
        "RestartPolicy": "deployments.choices.RestartPolicy",
        "Role": "orgs.models.Role",
        "Scope": "orgs.tokens.grants.Scope",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "hypervisor.openapi.document.with_responses",
        "hypervisor.openapi.document.with_named_objects",
        "hypervisor.openapi.document.with_typed_nulls",
        "hypervisor.openapi.document.with_named_choices",
        "hypervisor.openapi.document.without_unused_components",
    ],
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": True},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- Admin ----------------------------------------------------------------------------------------
_icon = static_lazy("hypervisor/icon.svg")
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "MLOps Hypervisor",
    "SITE_HEADER": "MLOps Hypervisor",
    "SITE_URL": "/docs",
    "SITE_ICON": _icon,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "STYLES": [static_lazy("ui/blocks.css"), static_lazy("console/console.css")],
    "SCRIPTS": [static_lazy("ui/refresh.js"), static_lazy("console/console.js")],
    "DASHBOARD_CALLBACK": "hypervisor.console.pages.dashboard.context",
    "SIDEBAR": {"show_search": True, "navigation": "hypervisor.console.navigation.sidebar"},
    "COLORS": {
        "primary": {
            "50": "oklch(96.9% .016 293.756)",
            "100": "oklch(94.3% .029 294.588)",
            "200": "oklch(89.4% .057 293.283)",
            "300": "oklch(81.1% .111 293.571)",
            "400": "oklch(74% .15 293)",
            "500": "oklch(62% .21 292)",
            "600": "oklch(52% .24 292)",
            "700": "oklch(46% .23 292)",
            "800": "oklch(40% .2 292)",
            "900": "oklch(34% .17 293)",
            "950": "oklch(27% .13 292)",
        }
    },
}

# --- Celery ---------------------------------------------------------------------------------------
# Correctness lives in PostgreSQL: a lost message costs time, never a decision. So messages are
# acknowledged early, results are not kept, and a broker that is down fails a publisher at once.
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": "hypervisor:celery:",
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
# Calls of engines and of the mail server run in a separate worker with threads, because a server
# that hangs blocks one.
CELERY_TASK_ROUTES = {
    "deployments.reconcile": {"queue": "engines"},
    "deployments.reconcile_engine": {"queue": "engines"},
    "*.mail_*": {"queue": "engines"},
    "deployments.send_notices": {"queue": "engines"},
    # A caller waits for none of these, and the number of rows decides how long they take.
    "hypervisor.fill_demo": {"queue": "background"},
    "scheduling.refresh_reasons": {"queue": "background"},
    "scheduling.take_sample": {"queue": "background"},
    "scheduling.count_totals": {"queue": "background"},
    "*.purge_*": {"queue": "background"},
}
# By default each task opens a session of its own, whatever its CONN_MAX_AGE is.
CELERY_DB_REUSE_MAX = sys.maxsize
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "scheduling.monitoring.beat_scheduler:HeartbeatScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_TIMEZONE = "UTC"
DJANGO_CELERY_BEAT_TZ_AWARE = True

# --- Scheduler ------------------------------------------------------------------------------------
SCHEDULER_INTERVAL: int = _values["SCHEDULER_INTERVAL"]
RECONCILE_INTERVAL: int = _values["RECONCILE_INTERVAL"]
SCHEDULER_POLICY = Policy.from_settings(_values)
SCHEDULER_COPY_SECONDS: int = _values["SCHEDULER_COPY_SECONDS"]
CYCLE_HISTORY_DAYS: int = _values["CYCLE_HISTORY_DAYS"]
EVENT_HISTORY_DAYS: int = _values["EVENT_HISTORY_DAYS"]
DEPLOYMENT_HISTORY_DAYS: int = _values["DEPLOYMENT_HISTORY_DAYS"]
AUDIT_HISTORY_DAYS: int = _values["AUDIT_HISTORY_DAYS"]
SAMPLE_HISTORY_DAYS: int = _values["SAMPLE_HISTORY_DAYS"]

# --- Metrics and traces ---------------------------------------------------------------------------
METRICS_TOKEN: str = _values["METRICS_TOKEN"]
METRICS_LIMIT: int = _values["METRICS_LIMIT"]
TRACES_ENDPOINT: str = _values["TRACES_ENDPOINT"]

# --- Engines --------------------------------------------------------------------------------------
STOP_GRACE_SECONDS: int = _values["STOP_GRACE_SECONDS"]
STARTS_AT_ONCE: int = _values["STARTS_AT_ONCE"]
LOST_CONTACT_SECONDS: int = _values["LOST_CONTACT_SECONDS"]
LOST_CONTACT_REQUEUE_SECONDS: int = _values["LOST_CONTACT_REQUEUE_SECONDS"]
LOG_KEEP_KIB: int = _values["LOG_KEEP_KIB"]
LOG_KEEP_DAYS: int = _values["LOG_KEEP_DAYS"]
LOG_FOLLOWERS: int = _values["LOG_FOLLOWERS"]

# --- Events ---------------------------------------------------------------------------------------
EVENT_FOLLOWERS: int = _values["EVENT_FOLLOWERS"]
EVENTS_URL: str = _values["EVENTS_URL"]

# --- Webhooks -------------------------------------------------------------------------------------
MAX_WEBHOOKS_PER_ORGANIZATION: int = _values["MAX_WEBHOOKS_PER_ORGANIZATION"]
WEBHOOK_ALLOWED_NETWORKS = [ip_network(text) for text in _values["WEBHOOK_ALLOWED_NETWORKS"]]
WEBHOOK_FAILING_DAYS: int = _values["WEBHOOK_FAILING_DAYS"]
WEBHOOK_HISTORY_DAYS: int = _values["WEBHOOK_HISTORY_DAYS"]

# --- Notices --------------------------------------------------------------------------------------
NOTICES_PER_HOUR: int = _values["NOTICES_PER_HOUR"]
NOTICE_HISTORY_DAYS: int = _values["NOTICE_HISTORY_DAYS"]
MAX_NOTICE_RULES: int = _values["MAX_NOTICE_RULES"]

# --- Logs -----------------------------------------------------------------------------------------
# No line shows the caller's source, thread or process, which cost more than its text.
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
_shared_processors: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]
_renderer: Any = (
    structlog.processors.JSONRenderer()
    if _values["LOG_FORMAT"] == "json"
    else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
)
# RequestIdMiddleware has checked it.
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True
# One line for each request, when it has ended: a line costs as much as validating a submission.
DJANGO_STRUCTLOG_STATUS_START_LOG_LEVEL = logging.DEBUG
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_shared_processors,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _renderer,
            ],
            "foreign_pre_chain": _shared_processors,
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["stderr"], "level": _values["LOG_LEVEL"]},
    # It has a line for each message that is sent or received.
    "loggers": {"celery": {"level": "WARNING"}},
}
