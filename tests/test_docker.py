"""What the images copy and run, and how compose puts them together; no engine is needed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import listens, wait_until
from tests.site import Site
from tests.test_architecture import settings_read

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
TARGETS = ("web", "worker-cpu", "worker-gpu")


@dataclass
class Stage:
    """A stage of the Dockerfile: what it begins with and its instructions in order."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)


def stages() -> dict[str, Stage]:
    text = re.sub(r"(?m)^#.*\n", "", (DOCKER / "Dockerfile").read_text())
    found: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = Stage(base, name)
        else:
            found[name].instructions.append((word, rest.strip()))
    return found


def chain(name: str) -> list[tuple[str, str]]:
    """Return all instructions that make a target, those of its base first."""
    if name not in (every := stages()):
        return []
    return [*chain(every[name].base), *every[name].instructions]


def last(name: str, word: str) -> str:
    return [rest for found, rest in chain(name) if found == word][-1]


def command(name: str) -> list[str]:
    """Return what a target runs."""
    parsed: list[str] = json.loads(last(name, "CMD"))
    return parsed


def health_check(name: str) -> list[str]:
    parsed: list[str] = json.loads(last(name, "HEALTHCHECK").partition("CMD ")[2])
    return parsed


def with_our_python(parts: list[str]) -> list[str]:
    """Return the command as arguments of this environment's Python."""
    program, *arguments = parts
    return arguments if program == "python" else ["-m", program, *arguments]


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text())
    return loaded


@pytest.fixture
def site(migrated_data: Path, tmp_path: Path) -> Iterator[Site]:
    """Yield a migrated site with only what an image sets in its environment."""
    site = Site(shutil.copytree(migrated_data, tmp_path / "data"))
    kept = ("PYTHONPATH", "DATA_DIR", "TORCH_THREADS", "OMP_NUM_THREADS")
    site.env = {"PATH": os.environ["PATH"], **{name: site.env[name] for name in kept}}
    yield site
    site.close()


# --- the images ----------------------------------------------------------------------------------


def test_the_targets_are_there_and_every_image_below_has_a_version() -> None:
    every = stages()

    assert set(TARGETS) <= set(every)
    for stage in every.values():
        assert stage.base in every or re.fullmatch(r"[a-z]+:\d[\w.-]+", stage.base), stage.base


def test_everything_copied_is_there_and_reaches_the_build() -> None:
    sent = re.findall(r"(?m)^!(.+)$", (DOCKER / "Dockerfile.dockerignore").read_text())
    copied = [
        source.rstrip("/")
        for stage in stages().values()
        for word, rest in stage.instructions
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]

    assert sorted(set(copied)) == sorted(sent)
    assert all((ROOT / source).exists() for source in copied)


def test_stages_take_files_only_from_stages_that_are_there() -> None:
    taken = re.findall(r"--from=(\S+)", (DOCKER / "Dockerfile").read_text())

    assert taken
    assert set(taken) <= set(stages())


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_without_root_and_says_whether_it_is_healthy(target: str) -> None:
    words = [word for word, _ in chain(target)]

    assert last(target, "USER") == "trilemma"
    assert words.count("CMD") == words.count("HEALTHCHECK") == 1
    assert command(target)
    assert health_check(target)


def test_what_is_installed_is_what_the_project_asks_for(tmp_path: Path) -> None:
    lines = [rest for word, rest in chain("requirements") if word == "RUN" and "tomllib" in rest]
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    line = re.sub(r"^python ", f"{sys.executable} ", lines[0])
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)  # noqa: S607  # the image's shell

    wanted = (tmp_path / "requirements.txt").read_text().splitlines()
    extras = project["optional-dependencies"]
    groups = ("postgres", "s3", "serve")
    assert wanted == sum((extras[group] for group in groups), project["dependencies"])


def test_the_web_image_serves_pages_and_files_and_its_health_check_sees_it(site: Site) -> None:
    port = str(site.port)
    check = with_our_python([part.replace("8000", port) for part in health_check("web")])
    assert site.run(*check, check=False).returncode == 1

    site.start(*with_our_python([part.replace("8000", port) for part in command("web")]))
    wait_until(lambda: listens(site.port), seconds=60, what="gunicorn")

    def is_healthy() -> bool:  # its first answer may take longer than the check waits
        return site.run(*check, check=False).returncode == 0

    wait_until(is_healthy, seconds=60, what="an answer")
    for path in ("/healthz", "/", "/static/web/mark.svg", "/static/plotly/plotly.min.js"):
        with urllib.request.urlopen(f"{site.address}{path}", timeout=30) as answer:  # noqa: S310  # loopback
            assert answer.status == 200, path


@pytest.mark.parametrize(
    "target", ["worker-cpu", pytest.param("worker-gpu", marks=pytest.mark.slow)]
)
def test_a_worker_image_starts_a_worker_and_its_health_check_sees_it(
    site: Site, target: str
) -> None:
    check = with_our_python(health_check(target))
    assert site.run(*check, check=False).returncode == 1

    site.start(*with_our_python(command(target)))

    def is_healthy() -> bool:
        return site.run(*check, check=False).returncode == 0

    wait_until(is_healthy, seconds=90, what=f"the worker\n{site.log()}")


@pytest.mark.parametrize(
    "arguments", [["migrate"], ["collectstatic", "--noinput"], ["check", "--deploy"]]
)
def test_the_commands_of_a_deployment_run_in_a_clean_environment(
    site: Site, arguments: list[str]
) -> None:
    assert site.manage(*arguments).returncode == 0


# --- compose -------------------------------------------------------------------------------------


def test_compose_builds_the_targets_and_names_the_version_of_what_it_takes() -> None:
    services = compose()["services"]

    built = {name: s["build"]["target"] for name, s in services.items() if "build" in s}
    assert set(built.values()) == set(TARGETS)
    for service in services.values():
        if "build" in service:
            assert (DOCKER / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]).is_file()
            assert service["build"]["args"] == {"COMMIT": "${COMMIT:-}"}
        else:
            assert re.fullmatch(r"[a-z]+:\d+", service["image"])


def test_what_compose_says_of_the_code_reaches_bundles() -> None:
    for target in TARGETS:
        instructions = chain(target)
        assert ("ARG", 'COMMIT=""') in instructions, target
        assert ("ENV", "TRILEMMA_COMMIT=$COMMIT") in instructions, target
    assert "COMMIT=$(git rev-parse HEAD) docker compose" in (DOCKER / "compose.yml").read_text()


def test_everything_waits_for_what_it_needs() -> None:
    services = compose()["services"]

    for name in ("web", "worker", "worker-gpu"):
        needs = services[name]["depends_on"]
        assert needs["migrate"] == {"condition": "service_completed_successfully"}
        assert needs["database"] == needs["broker"] == {"condition": "service_healthy"}
    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed]


def test_compose_sets_settings_that_there_are_and_reads_the_rest_from_the_file() -> None:
    for name, service in compose()["services"].items():
        if "build" in service:
            assert service["env_file"] == ".env", name
            assert set(service["environment"]) <= set(settings_read()), name
            assert service["volumes"] == ["data:/data"], name
            assert service["environment"]["DATA_DIR"] == "/data", name


def test_only_the_site_is_reachable_and_only_from_its_own_host() -> None:
    ports = {name: s["ports"] for name, s in compose()["services"].items() if "ports" in s}

    assert ports == {"web": ["127.0.0.1:8000:8000"]}


def test_no_password_is_written_down() -> None:
    text = (DOCKER / "compose.yml").read_text()

    assert set(re.findall(r"(?i)password: +(\S+)", text)) == {"${POSTGRES_PASSWORD:?set"}
    assert re.findall(r"postgres://(\S+?):\$\{POSTGRES_PASSWORD", text) == ["trilemma"]


def test_named_volumes_are_declared() -> None:
    loaded = compose()
    used = {
        mount.partition(":")[0]
        for service in loaded["services"].values()
        for mount in service.get("volumes", [])
    }

    assert used == set(loaded["volumes"])


def test_the_gpu_worker_starts_only_when_asked_for() -> None:
    services = compose()["services"]

    assert [name for name, s in services.items() if "profiles" in s] == ["worker-gpu"]
    devices = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def test_the_worker_runs_its_images_command_with_the_queues_it_is_given() -> None:
    given = compose()["services"]["worker"]["command"]
    default = [re.sub(r"\$\{\w+:-(.*)\}", r"\1", part) for part in given]

    assert default == command("worker-cpu")


def test_migrating_is_a_command_of_the_site() -> None:
    services = compose()["services"]

    assert services["migrate"]["command"] == ["python", "manage.py", "migrate"]
    assert services["migrate"]["build"]["target"] == "web"
