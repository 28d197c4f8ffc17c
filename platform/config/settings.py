"""The site's settings, all from the environment; each appears in docker/.env.example."""

import os
import re
import secrets
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import dj_database_url
from django.conf import global_settings
from django.core.exceptions import ImproperlyConfigured

from config.admin_look import UNFOLD as UNFOLD  # a setting
from config.environment import (
    envaddress,
    envbool,
    envchoice,
    envint,
    envlist,
    envnetworks,
    envprefix,
    envrate,
    envsecret,
    envsite,
)
from evaluation.imagesets.atomic import flush_file

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parents[2]


def secret_key() -> str:
    """Return SECRET_KEY, or the one kept in DATA_DIR/secret_key, made at the first start."""
    if given := envsecret("SECRET_KEY", ""):
        return given
    path = DATA_DIR / "secret_key"
    if not path.exists():
        temporary = path.with_name(f".secret_key-{os.getpid()}")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_urlsafe(50))
        flush_file(temporary)  # a power cut must not leave an empty key
        try:
            os.link(temporary, path)  # unlike rename: the first of two starting processes wins
        except FileExistsError:
            pass
        temporary.unlink()
    return path.read_text()


DATA_DIR = Path(os.environ.get("DATA_DIR", BASE_DIR / "var")).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = envbool("DEBUG", False)
SECRET_KEY = secret_key()
ALLOWED_HOSTS = envlist("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = envlist("CSRF_TRUSTED_ORIGINS", "")
URL_PREFIX = envprefix("URL_PREFIX", "")  # all addresses begin so, behind a proxy
FORCE_SCRIPT_NAME = URL_PREFIX or None  # None: what the server says
PUBLIC_READ = envbool("PUBLIC_READ", True)  # pages and API readable without an account
METRICS_TOKEN = os.environ.get("METRICS_TOKEN", "")  # reads /metrics; empty = staff alone

# --- Security -------------------------------------------------------------------------------
HTTPS = envbool("HTTPS", False)  # the site is reached by https:// alone
HSTS_SECONDS = envint("HSTS_SECONDS", 31_536_000)  # browsers insist on HTTPS this long
TRUST_PROXY = envbool("TRUST_PROXY", False)  # believe X-Forwarded-Proto and X-Forwarded-For
LOGIN_LIMIT = envint("LOGIN_LIMIT", 10, at_least=1)  # wrong passwords for one name
LOGIN_LIMIT_ADDRESS = envint("LOGIN_LIMIT_ADDRESS", 100, at_least=1)  # and from one address
LOGIN_WINDOW_SECONDS = envint("LOGIN_WINDOW_SECONDS", 900, at_least=1)  # they count this long
API_RATE_ACCOUNT = envrate("API_RATE_ACCOUNT", "3000/minute")  # requests, empty = no limit
API_RATE_VISITOR = envrate("API_RATE_VISITOR", "1000/minute")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},  # who asked the REST interface how often
    }
}
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = HSTS_SECONDS if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUST_PROXY else None
SECURE_REFERRER_POLICY = SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = URL_PREFIX or "/"  # its neighbours have cookies, too
# Asked by a container's own health check.
SECURE_REDIRECT_EXEMPT = [f"^{re.escape(f'{URL_PREFIX}/health/'[1:])}$"]
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000  # of a form; one of 50 entries has some 3,000
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000  # bytes of any body but of web.middleware.STREAMED
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.reports.ReportFilter"
# Whether the other hosts of the domain have HTTPS is not ours to promise.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "django_filters",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "accounts",
    "catalog",
    "jobs",
    "experiments",
    "notifications",
    "leaderboards",
    "operations",
    "api",
    "web",
    "terminal",
]

MIDDLEWARE = [
    "web.middleware.probes",
    "web.middleware.measure",
    "django.middleware.security.SecurityMiddleware",
    "web.middleware.security_headers",
    "api.http.versions.unversioned",
    "api.http.problems.problems",
    "web.middleware.bounded_body",
    "web.middleware.no_nul",
    "config.static_files.HashedFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "web.middleware.public_read",
    "accounts.devices.remember",
    "web.middleware.LoginLimit",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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

database_url = envaddress("DATABASE_URL", f"sqlite:///{DATA_DIR / 'db.sqlite3'}")
try:
    DATABASES = {"default": dj_database_url.parse(database_url, conn_health_checks=True)}
except ValueError:
    raise ImproperlyConfigured(
        "Unexpected value of DATABASE_URL, use postgres://user:password@host:port/name or "
        "sqlite:///path"
    ) from None  # whose message may hold what should not be shown
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # WAL: pages are read while a worker writes. IMMEDIATE: a writer waits its turn at the
        # beginning of a transaction instead of failing in the middle of it.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.AccountBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"  # under the prefix
MEDIA_URL = "/media/"  # nothing is there, but Django wants it to be somewhere else
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # written to as browsers ask
_plotly = find_spec("plotly")
if _plotly is None or _plotly.origin is None:
    raise ImproperlyConfigured("plotly is not installed; install the project's dependencies")
STATICFILES_DIRS = [("plotly", Path(_plotly.origin).parent / "package_data")]
WHITENOISE_STATIC_PREFIX = STATIC_URL  # what comes after the prefix
WHITENOISE_USE_FINDERS = True  # no collectstatic needed for a first start
WHITENOISE_KEEP_ONLY_HASHED_FILES = False

# --- Files ----------------------------------------------------------------------------------
STORAGES = dict(global_settings.STORAGES)
STORAGES["staticfiles"] = {"BACKEND": "config.static_files.HashedStaticFilesStorage"}
if S3_BUCKET := os.environ.get("S3_BUCKET", ""):  # files are kept there; empty = in DATA_DIR
    if not all(map(find_spec, ("storages", "boto3"))):
        raise ImproperlyConfigured("S3_BUCKET needs the s3 extra: pip install -e '.[s3]'")
    STORAGES["files"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": S3_BUCKET,
            "location": os.environ.get("S3_PREFIX", ""),
            "endpoint_url": os.environ.get("S3_ENDPOINT", "")
            or None,  # of another store than Amazon's
            "region_name": os.environ.get("S3_REGION", "") or None,
            "access_key": envsecret("S3_ACCESS_KEY", "") or None,  # None: as boto3 finds them
            "secret_key": envsecret("S3_SECRET_KEY", "") or None,
            "file_overwrite": True,  # a name has one content
            "object_parameters": {"ChecksumAlgorithm": "SHA256"},  # the store refuses damage
        },
    }

# --- Jobs -----------------------------------------------------------------------------------
BEAT_SECONDS = envint("BEAT_SECONDS", 2, at_least=1)  # a running job renews its lease this often
LEASE_SECONDS = envint("LEASE_SECONDS", 30, at_least=2)  # silent for longer: lost, queued again
if LEASE_SECONDS < 3 * BEAT_SECONDS:
    raise ImproperlyConfigured(
        f"Unexpected value LEASE_SECONDS={LEASE_SECONDS}, use at least three times BEAT_SECONDS "
        f"({BEAT_SECONDS}): a job that misses one beat is not lost"
    )
MAX_RESTARTS = envint("MAX_RESTARTS", 3)  # lost this often, a job fails with "node lost"
JOB_SECONDS = envint("JOB_SECONDS", 0)  # a job may take so long, 0 = as long as it needs
QUESTIONS_PER_HOUR = envint("QUESTIONS_PER_HOUR", 20)  # an account may ask, 0 = nobody
QUESTIONS_UNFINISHED = envint("QUESTIONS_UNFINISHED", 2, at_least=1)  # of an account at a time
VIEWINGS_WHEN_IDLE = envbool("VIEWINGS_WHEN_IDLE", False)  # look into trainings nobody asked about
QUESTIONS_KEPT = envint("QUESTIONS_KEPT", 50)  # the newest of an account, with their images
UPLOAD_GB = envint("UPLOAD_GB", 20)  # of files that an account may have on their way, 0 = nobody
UPLOAD_HOURS = envint("UPLOAD_HOURS", 48, at_least=1)  # those nobody goes on with are deleted
PIPELINE_GB = envint("PIPELINE_GB", 100)  # of a hub's pipeline that is downloaded, 0 = none is
STALL_SECONDS = envint("STALL_SECONDS", 3600, at_least=10)  # work without progress hangs
CHECKPOINT_SECONDS = envint("CHECKPOINT_SECONDS", 60, at_least=1)  # at most this much is lost
DEVICE = os.environ.get("DEVICE", "auto")  # auto = cuda where there is one, else cpu
TORCH_THREADS = envint("TORCH_THREADS", 0)  # of one job; 0 = a worker's share
INCEPTION_WEIGHTS = os.environ.get("INCEPTION_WEIGHTS", "")  # file; empty = download or refuse

BROKER_URL = envaddress("BROKER_URL", "filesystem://localhost")

# --- Telling --------------------------------------------------------------------------------
SITE_URL = envsite("SITE_URL", "")  # what links of messages begin with; empty = paths alone
WEBHOOK_NETWORKS = envnetworks("WEBHOOK_NETWORKS", "")  # may be called though they are not public
DELIVERY_DAYS = envint("DELIVERY_DAYS", 30, at_least=1)  # messages are kept so long
EMAIL_HOST = os.environ.get("EMAIL_HOST", "")  # empty = no mail is sent
EMAIL_PORT = envint("EMAIL_PORT", 587, at_least=1)
EMAIL_HOST_USER = os.environ.get("EMAIL_USER", "")
EMAIL_HOST_PASSWORD = envsecret("EMAIL_PASSWORD", "")
EMAIL_SECURITY = envchoice("EMAIL_SECURITY", "starttls", "tls", "none")
EMAIL_USE_TLS, EMAIL_USE_SSL = EMAIL_SECURITY == "starttls", EMAIL_SECURITY == "tls"
EMAIL_TIMEOUT = 10  # seconds
DEFAULT_FROM_EMAIL = os.environ.get("EMAIL_FROM", "trilemma@localhost")

# --- REST -----------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "knox.auth.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.permissions.ReadOrSubmit"],
    "DEFAULT_THROTTLE_CLASSES": [
        "api.http.throttles.VisitorThrottle",
        "api.http.throttles.AccountThrottle",
    ],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "api.http.negotiation.Negotiation",
    "EXCEPTION_HANDLER": "api.http.problems.handle",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
API_TOKEN_DAYS = envint("API_TOKEN_DAYS", 90)  # a new token lives so long, 0 = until deleted
REST_KNOX = {
    "TOKEN_TTL": timedelta(days=API_TOKEN_DAYS) if API_TOKEN_DAYS else None,
    "AUTH_HEADER_PREFIX": "Token",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Trilemma",
    "DESCRIPTION": "Compare GANs, VAEs and diffusion models: quality, coverage and cost.\n\n"
    "Every refusal is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, "
    "and of wrong fields `errors` by their dotted paths. A parameter that an address does not know "
    "is refused by its name.\n\n"
    "Lists come in pages: `next` leads on and never skips or repeats a row while others arrive.\n\n"
    "Addresses without `v1` are those of before; answers there say `Deprecation`.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["accounts.permissions.ReadOrSubmit"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.schema.name_the_server",
    ],
    "ENUM_NAME_OVERRIDES": {
        "EntryKindEnum": "experiments.models.Entry.Kind",
        "KindEnum": "jobs.models.JobEvent.Kind",
        "QueueEnum": "jobs.models.Queue",
        "StatusEnum": "jobs.models.Status",
        "DeliveryStatusEnum": "notifications.models.Delivery.State",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

LOG_FORMAT = envchoice("LOG_FORMAT", "line", "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"job": {"()": "jobs.logs.AddJob"}},
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s%(job)s: %(message)s"},
        "json": {"()": "jobs.logs.JsonFormatter"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["job"]}
    },
    "root": {"handlers": ["stderr"], "level": os.environ.get("LOG_LEVEL", "INFO")},
}
