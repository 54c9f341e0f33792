"""What other installed packages add: found by name, and left out with a reason."""

import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

from edgetl.core.plugins import PluginWarning, Registry

GROUP = "edgetl.tests"


class Spec(NamedTuple):
    name: str
    text: str = ""


def registry() -> Registry[Spec]:
    return Registry(GROUP, Spec, {"one": Spec("one", "own"), "two": "tests.core.test_plugins:TWO"})


TWO = Spec("two", "own, imported when it is used")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes packages of one module, as pip leaves them: {entry point name: object}."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(package: str, code: str, **points: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        facts = tmp_path / f"{package}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {package}:{found}" for name, found in points.items()]
        (facts / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))

    return make


def test_a_packages_spec_comes_after_the_own_ones(install) -> None:
    install(
        "added_a",
        "from tests.core.test_plugins import Spec\nTHREE = Spec('three')\n",
        three="THREE",
    )
    found = registry()
    assert list(found) == ["one", "two", "three"]
    assert [found[name].name for name in found] == ["one", "two", "three"]
    assert "three" in found
    assert "four" not in found
    assert len(found) == 3
    assert [spec.name for spec in found.own()] == ["one", "two"]
    assert found.problems() == []


def test_own_specs_are_found_without_looking_at_other_packages(install) -> None:
    install("added_b", "raise RuntimeError('imported')\n", three="THREE")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry()["two"] is TWO
        assert registry().own() == [Spec("one", "own"), TWO]


@pytest.mark.parametrize(
    ("code", "point", "why"),
    [
        ("import nowhere_to_be_found\n", "three", "ModuleNotFoundError: No module named 'nowhere"),
        ("raise SystemError('broken')\n", "three", "SystemError: broken"),
        ("X = 3\n", "three", "'added_c:X' is not an Spec of that name"),
        (
            "from tests.core.test_plugins import Spec\nX = Spec('other')\n",
            "three",
            "'added_c:X' is not an Spec of that name",
        ),
        ("from tests.core.test_plugins import Spec\nX = Spec('one')\n", "one", "the name is taken"),
    ],
)
def test_what_cannot_be_used_is_named_and_the_rest_works(
    install, monkeypatch: pytest.MonkeyPatch, code: str, point: str, why: str
) -> None:
    install("added_c", code, **{point: "X"})
    install("added_d", "from tests.core.test_plugins import Spec\nX = Spec('four')\n", four="X")
    monkeypatch.delitem(__import__("sys").modules, "added_c", raising=False)
    found = registry()
    with pytest.warns(PluginWarning, match="added_c"):
        assert list(found) == ["one", "two", "four"]
    assert found["one"].text == "own"
    (problem,) = found.problems()
    assert problem.startswith(f"'{point}' of {GROUP} from package 'added_c' is left out: {why}")


def test_of_two_packages_with_one_name_the_second_is_left_out(install) -> None:
    for package in ("added_e", "added_f"):
        install(package, "from tests.core.test_plugins import Spec\nX = Spec('five')\n", five="X")
    found = registry()
    with pytest.warns(PluginWarning, match="the name is taken"):
        assert list(found) == ["one", "two", "five"]
