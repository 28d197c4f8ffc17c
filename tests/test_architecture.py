"""The rooms, what they import, and the settings they read."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENV_EXAMPLE = ROOT / "docker" / ".env.example"
SETTINGS = ROOT / "platform" / "config" / "settings.py"
TOP_LEVEL = {
    *("manage.py", "pyproject.toml", "README.md"),
    *("platform", "generators", "evaluation", "templates", "tests", "docker"),
}
PRODUCT = ("platform", "generators", "evaluation")
MOST_LINES = 400  # of a module
MOST_MODULES = 20  # of a folder


def run(*command: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    environment = {**os.environ, "PYTHONPATH": paths, "DATA_DIR": str(data_dir)}
    environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def tracked_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files"],  # noqa: S607  # git is where it is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.split("\n")[:-1]


WEB_PROCESS = """
import sys
import django
django.setup()
from django.contrib import admin
from django.test import Client
import config.urls, config.wsgi, api.urls, experiments.admin, jobs.admin
admin.autodiscover()
client = Client(SERVER_NAME="localhost")
for path in ("/", "/experiments/", "/leaderboards/", "/workers/", "/api/schema/", "/admin/login/"):
    assert client.get(path).status_code == 200, path
heavy = {"torch", "torchvision", "torch_fidelity", "diffusers", "numpy", "sklearn", "scipy", "PIL"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_web_process_never_loads_torch_or_numpy(migrated_data: Path, tmp_path: Path) -> None:
    data = shutil.copytree(migrated_data, tmp_path / "data")

    answer = run(sys.executable, "-c", WEB_PROCESS, data_dir=data)

    assert (answer.returncode, answer.stdout) == (0, "[]\n"), answer.stderr


def test_imports_only_go_down(tmp_path: Path) -> None:
    answer = run(
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as lint; lint()",
        data_dir=tmp_path,
    )

    assert answer.returncode == 0, answer.stdout
    assert re.search(r"Contracts: \d+ kept, 0 broken\.", answer.stdout)


def test_the_rims_of_the_engines_need_no_torch(tmp_path: Path) -> None:
    rims = "generators.specs.registry, generators.specs.options, evaluation.protocols.metrics, evaluation.protocols.building"
    code = f"import sys; sys.modules['torch'] = sys.modules['numpy'] = None; import {rims}"

    answer = run(sys.executable, "-c", code, data_dir=tmp_path)

    assert answer.returncode == 0, answer.stderr


def test_platform_is_a_source_root_and_shadows_nothing() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_the_top_level_holds_the_rooms_and_nothing_else() -> None:
    top = {path.split("/")[0] for path in tracked_files()}

    assert {name for name in top if not name.startswith(".")} == TOP_LEVEL


def product_modules() -> list[Path]:
    """Return the modules of the product, without migrations, as paths from the root."""
    paths = [Path(name) for name in tracked_files() if name.endswith(".py")]
    return [
        path
        for path in paths
        if path.parts[0] in PRODUCT and path.parent.name != "migrations" and (ROOT / path).exists()
    ]


def test_no_module_of_the_product_is_too_long_to_be_read() -> None:
    lines = {str(path): (ROOT / path).read_text().count("\n") for path in product_modules()}

    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_no_folder_of_the_product_holds_too_many_modules() -> None:
    counts = Counter(str(path.parent) for path in product_modules())

    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_no_code_of_ours_can_unpickle() -> None:
    parts = ["import " + "pickle", "allow_pickle" + "=True", "weights_only" + "=False"]
    found = [
        f"{path}: {part}"
        for path in tracked_files()
        if path.endswith(".py") and (ROOT / path).exists()
        for part in parts
        if part in (ROOT / path).read_text()
    ]

    assert found == []


SECRET_READERS = {"envsecret", "envaddress"}
READERS = SECRET_READERS | {
    "envbool",
    "envchoice",
    "envint",
    "envlist",
    "envnetworks",
    "envprefix",
    "envrate",
    "envsite",
    "os.environ.get",
}


def settings_read() -> dict[str, ast.expr | None]:
    """Return the name of every variable that settings read, with the default it has there."""
    found: dict[str, ast.expr | None] = {}
    for node in ast.walk(ast.parse(SETTINGS.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in READERS and node.args and isinstance(node.args[0], ast.Constant):
            name = str(node.args[0].value)
            found[name] = node.args[1] if len(node.args) > 1 else None
            if called in SECRET_READERS:
                found[f"{name}_FILE"] = None
    return found


def env_example() -> dict[str, str]:
    lines = ENV_EXAMPLE.read_text().splitlines()
    pairs = [re.match(r"#?([A-Z0-9_]+)=(.*)", line) for line in lines]
    return {pair[1]: pair[2] for pair in pairs if pair}


def test_every_setting_is_in_the_example_and_nothing_else_but_what_compose_asks_for() -> None:
    compose = re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker" / "compose.yml").read_text())

    assert list(env_example()) == sorted({*settings_read(), *compose})


def test_every_setting_of_the_example_has_one_comment_above_it() -> None:
    blocks = ENV_EXAMPLE.read_text().strip().split("\n\n")[1:]

    for block in blocks:
        comment, setting = block.split("\n")
        assert comment.startswith("# "), block
        assert re.fullmatch(r"#?[A-Z0-9_]+=.*", setting), block


def test_the_example_holds_the_defaults() -> None:
    example = env_example()

    for name, default in settings_read().items():
        if isinstance(default, ast.Constant):
            assert example[name] == str(default.value), name


def test_the_example_can_be_used_as_it_is(tmp_path: Path) -> None:
    shown = "from django.conf import settings; print(settings.SECRET_KEY != '', settings.DEBUG)"
    used = re.findall(r"(?m)^([A-Z0-9_]+)=(.*)$", ENV_EXAMPLE.read_text())
    assignments = "; ".join(f"os.environ[{name!r}] = {value!r}" for name, value in used)

    answer = run(sys.executable, "-c", f"import os; {assignments}; {shown}", data_dir=tmp_path)

    assert answer.stdout == "True False\n", answer.stderr


def test_every_setting_is_in_the_table_of_the_help() -> None:
    rows = re.findall(r"(?m)^\| `([A-Z0-9_]+)` \|", (ROOT / ".readme" / "settings.md").read_text())

    assert rows == sorted(settings_read())
