"""What the files around the package name is there: targets, extras, packages, options."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgetl import __version__

if sys.version_info < (3, 11):
    pytest.skip("tomllib came with Python 3.11", allow_module_level=True)
import tomllib

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def jobs(workflow: Path) -> dict[str, Any]:
    return yaml.safe_load(workflow.read_text())["jobs"]


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(workflow).values() for step in job["steps"]]


def make_targets() -> set[str]:
    return set(re.findall(r"^([\w./-]+):(?!=)", (ROOT / "Makefile").read_text(), re.M))


def targets_in(text: str) -> set[str]:
    """The targets that a text's `make TARGET` names."""
    return set(re.findall(r"(?:^|`)\s*make ([\w./-]+)", text, re.M))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_what_is_in_the_checkout(workflow: Path) -> None:
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    assert commands
    for command in commands:
        assert targets_in(command) <= make_targets()
        first = command.split()[0]
        if "/" in first:
            assert os.access(ROOT / first, os.X_OK), first


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_no_more_than_it_needs(workflow: Path) -> None:
    whole = yaml.safe_load(workflow.read_text())
    assert whole["permissions"] == {"contents": "read"}
    assert "concurrency" in whole
    granted = {
        name: job["permissions"] for name, job in jobs(workflow).items() if "permissions" in job
    }
    assert granted == ({"publish": {"id-token": "write"}} if workflow.stem == "release" else {})
    for job in jobs(workflow).values():
        assert job["timeout-minutes"] <= 60
    for step in steps(workflow):
        # By major version; "release/v1" is how PyPA publishes the one of its action.
        assert re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", step.get("uses", "a/b@v1"))


def test_ci_runs_the_device_half_on_every_python_that_is_promised() -> None:
    job = jobs(ROOT / ".github" / "workflows" / "ci.yml")["device"]
    matrix = job["strategy"]["matrix"]
    prefix = "Programming Language :: Python :: "
    promised = [c.removeprefix(prefix) for c in PROJECT["project"]["classifiers"] if prefix in c]
    assert matrix["python"] == promised
    assert any(runner.endswith("-arm") for runner in matrix["runner"])
    assert {case["runner"] for case in matrix["include"]} == set(matrix["runner"])
    for case in matrix["include"]:
        assert set(case["engines"].split(",")) <= set(EXTRAS)


@pytest.mark.parametrize("form", ["bug_report.yml", "feature_request.yml"])
def test_a_form_asks_for_what_is_installed(form: str) -> None:
    body = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / form).read_text())["body"]
    asked = {field["id"]: field for field in body if field["type"] != "markdown"}
    assert "`edgetl doctor --json`" in asked["doctor"]["attributes"]["description"]


def test_contributing_names_every_marker_and_only_targets_that_exist() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    markers = {line.split(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    assert {marker for marker in markers if f"`{marker}`" not in page} == set()
    assert targets_in(page)
    assert targets_in(page) <= make_targets()


def test_the_container_gets_what_a_wheel_is_built_from_and_engines_that_exist() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    sources = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.M)
        for name in line.split()
    ]
    sdist = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    project = PROJECT["project"]
    needed = {*(name.strip("/") for name in sdist), project["readme"], *project["license-files"]}
    assert set(sources) == needed | {"pyproject.toml"}
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(sources)
    pages = dockerfile + (ROOT / "docs" / "usage.md").read_text()
    named = re.findall(r"\bENGINES=([\w,-]+)", pages)
    assert named
    assert {engine for engines in named for engine in engines.split(",")} <= set(EXTRAS)


def test_the_pre_commit_hooks_are_the_commands_of_make_lint() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert recipe
    lint = [re.sub(r" --check| \.$", "", line.strip()) for line in recipe[1].splitlines()]
    assert hooks == [line.replace("$(BIN)", ".venv/bin") for line in lint]


@pytest.fixture
def bare_ci(tmp_path: Path) -> Path:
    """A checkout of nothing but .ci/run, on a machine whose package mirror cannot be reached."""
    for name in (".ci/run", "tools/ci-packages.txt"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(ROOT / name, tmp_path / name)
    programs = {"apt-get": "exit 100", "dpkg-query": "exit 1", "make": 'echo "made $*"; exit 7'}
    (tmp_path / "bin").mkdir()
    for name, does in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def test_ci_tests_without_the_packages_that_it_cannot_get(bare_ci: Path) -> None:
    result = subprocess.run(
        [bare_ci / ".ci" / "run"],
        env=os.environ | {"PATH": f"{bare_ci / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (ROOT / "tools" / "ci-packages.txt").read_text().splitlines()
    packages = [line.split()[0] for line in lines if line and not line.startswith("#")]
    *_, missing, made = result.stdout.splitlines()
    assert missing.endswith(f"are skipped: {' '.join(packages)}")
    assert (made, result.returncode) == ("made test", 7)


TODAY = "2026-01-31"


@pytest.fixture
def release(tmp_path: Path):
    """Asks tools/check-release about a tag, in a checkout that is ready except for `changes`."""

    def ask(tag: str, **changes: str) -> subprocess.CompletedProcess[str]:
        heading, cited = changes.get("heading", TODAY), changes.get("cited", TODAY)
        files = {
            "edgetl/__init__.py": f'__version__ = "{__version__}"\n',
            "CHANGELOG.md": f"# Changelog\n\n## {__version__} ({heading})\n",
            "CITATION.cff": f"version: {__version__}\ndate-released: {cited}\n",
        }
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(content)
        (tmp_path / "tools").mkdir(exist_ok=True)
        program = shutil.copy(ROOT / "tools" / "check-release", tmp_path / "tools")
        return subprocess.run(
            [sys.executable, program, tag], capture_output=True, text=True, check=False
        )

    return ask


def test_a_tag_is_released_if_version_changelog_and_citation_agree(release) -> None:
    answer = release(f"v{__version__}")
    assert (answer.returncode, answer.stdout) == (0, f"v{__version__} may be released\n")


@pytest.mark.parametrize(
    ("tag", "changes", "said"),
    [
        ("v9.9.9", {}, "the tag is v9.9.9"),
        (__version__, {}, f"the tag is {__version__}"),
        (f"v{__version__}", {"heading": "unreleased"}, "CHANGELOG.md has no heading"),
        (f"v{__version__}", {"cited": "2025-12-01"}, "CITATION.cff has date-released 2025-12-01"),
    ],
)
def test_a_tag_that_does_not_fit_is_not_released(release, tag, changes, said) -> None:
    answer = release(tag, **changes)
    assert answer.returncode == 1
    assert answer.stdout.startswith(said)
