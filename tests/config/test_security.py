"""Settings of a site in production: what Django's own check demands, and secrets that stay so."""

from pathlib import Path

import pytest

from tests.servers import free_port, wait_until
from tests.site import Site

PASSWORD = "dont/show#this"  # noqa: S105  # with characters that an address may not have bare
WRITTEN = "dont%2Fshow%23this"


@pytest.fixture
def production(tmp_path: Path) -> Site:
    return Site(tmp_path, HTTPS="True", TRUST_PROXY="True", ALLOWED_HOSTS="trilemma.example")


def shown(site: Site, *names: str) -> list[str]:
    """Return settings as the site has them."""
    code = "from django.conf import settings as s; "
    code += "; ".join(f"print(s.{name})" for name in names)
    site.env["DJANGO_SETTINGS_MODULE"] = "config.settings"
    return site.run("-c", code).stdout.splitlines()


def test_a_site_behind_https_passes_djangos_check_without_a_warning(production: Site) -> None:
    done = production.manage("check", "--deploy", "--fail-level", "WARNING", check=False)

    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_https_secures_cookies_and_sends_visitors_on(production: Site) -> None:
    cookies = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT")

    assert shown(production, *cookies, "SECURE_HSTS_SECONDS", "SECURE_PROXY_SSL_HEADER") == [
        *("True", "True", "True"),
        *("31536000", "('HTTP_X_FORWARDED_PROTO', 'https')"),
    ]


def test_a_first_start_on_this_machine_needs_no_https_and_believes_no_header(
    tmp_path: Path,
) -> None:
    names = ("SESSION_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS")

    answer = shown(Site(tmp_path), *names, "SECURE_PROXY_SSL_HEADER")

    assert answer == ["False", "False", "0", "None"]


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    for name, text in (
        ("key", "k" * 60 + "\n"),
        ("database", f"postgres://ada:{WRITTEN}@db.example/trilemma\n"),
        ("broker", f"redis://:{WRITTEN}@redis.example:6379/0"),
    ):
        (tmp_path / name).write_text(text)
    site = Site(
        tmp_path,
        SECRET_KEY_FILE=str(tmp_path / "key"),
        DATABASE_URL_FILE=str(tmp_path / "database"),
        BROKER_URL_FILE=str(tmp_path / "broker"),
        BROKER_URL="filesystem://localhost",  # as in the example of all settings
    )

    key, password, broker = shown(
        site, "SECRET_KEY", "DATABASES['default']['PASSWORD']", "BROKER_URL"
    )

    assert key == "k" * 60
    assert password == PASSWORD
    assert broker == f"redis://:{WRITTEN}@redis.example:6379/0"


@pytest.mark.parametrize("text", [None, "", " \n"], ids=["missing", "empty", "blank"])
def test_a_secrets_file_without_a_secret_stops_the_start(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "key"
    if text is not None:
        path.write_text(text)
    site = Site(tmp_path, SECRET_KEY_FILE=str(path))

    done = site.manage("check", check=False)

    assert done.returncode != 0
    assert f"SECRET_KEY_FILE={path}" in done.stderr


WRONG = {
    "unwritten": "postgres://ada:{}@127.0.0.1:{port}/trilemma",
    "digits": "postgres://ada:12/{}@127.0.0.1:{port}/trilemma",
    "scheme": "mongo://ada:{written}@127.0.0.1:{port}/trilemma",
    "port": "postgres://ada:{written}@127.0.0.1:many/trilemma",
    "nobody there": "postgres://ada:{written}@127.0.0.1:{port}/trilemma",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_address_of_the_database_never_shows_its_password(
    tmp_path: Path, name: str
) -> None:
    address = WRONG[name].format(PASSWORD, written=WRITTEN, port=free_port())
    site = Site(tmp_path, DATABASE_URL=address)

    for command in (("manage.py", "migrate"), ("-m", "celery", "-A", "config", "report")):
        done = site.run(*command, check=False)

        assert "dont" not in done.stdout + done.stderr, command
        if "manage.py" in command:
            assert done.returncode != 0


@pytest.mark.slow
def test_a_worker_without_its_database_and_broker_never_shows_their_passwords(
    tmp_path: Path,
) -> None:
    broker = f"redis://:{WRITTEN}@127.0.0.1:{free_port()}/0"
    database = WRONG["nobody there"].format(written=WRITTEN, port=free_port())
    site = Site(tmp_path, DATABASE_URL=database, BROKER_URL=broker)
    try:
        site.start_worker()
        wait_until(lambda: "Cannot connect" in site.log(), seconds=60, what="the worker's log")
    finally:
        site.close()

    assert "dont" not in site.log()


def test_a_broker_address_that_is_none_stops_the_start_without_being_shown(tmp_path: Path) -> None:
    site = Site(tmp_path, BROKER_URL=f"redis://:{PASSWORD}@127.0.0.1:6379/0")

    done = site.run("-m", "celery", "-A", "config", "report", check=False)

    assert done.returncode != 0
    assert "BROKER_URL" in done.stderr
    assert "dont" not in done.stdout + done.stderr


def test_a_debug_page_hides_the_addresses_with_passwords(tmp_path: Path) -> None:
    site = Site(tmp_path, DEBUG="True", BROKER_URL=f"redis://:{WRITTEN}@127.0.0.1:6379/0")
    database = WRONG["nobody there"].format(written=WRITTEN, port=free_port())
    site.env["DATABASE_URL"] = database
    page = "from django.views.debug import ExceptionReporter as Report; import django; "
    page += "django.setup(); print(Report(None, None, None, None).get_traceback_html())"
    site.env["DJANGO_SETTINGS_MODULE"] = "config.settings"

    text = site.run("-c", page).stdout

    assert "BROKER_URL" in text
    assert "dont" not in text


@pytest.mark.parametrize(
    "text", ["trilemma", "/trilemma/", "/", "//x", "/a b", "/é", "/..", "/a/."]
)
def test_what_is_no_prefix_of_addresses_stops_the_start(tmp_path: Path, text: str) -> None:
    done = Site(tmp_path, URL_PREFIX=text).manage("check", check=False)

    assert done.returncode != 0
    assert f"Unexpected value URL_PREFIX={text}, use the beginning" in done.stderr


def test_a_prefix_is_that_of_cookies_and_of_the_one_address_that_needs_no_https(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path, URL_PREFIX="/lab/trilemma", HTTPS="True")

    found = shown(site, "FORCE_SCRIPT_NAME", "SESSION_COOKIE_PATH", "SECURE_REDIRECT_EXEMPT")

    assert found == ["/lab/trilemma", "/lab/trilemma", r"['^lab/trilemma/health/$']"]
