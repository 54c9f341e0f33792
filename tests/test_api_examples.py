"""The examples in the docstrings of edgetl's functions, run as a user would run them."""

import inspect
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest

import edgetl
from tests.making import write_class_folders
from tests.tiny import TINY_WITH_HEATMAP, make_pictures
from tools.docs_reference import VERBS

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
pytestmark = pytest.mark.slow

# What each example prints.
PRINTED = {
    "finetune": r"top-1 \d+\.\d% on 12 held-out pictures\n",
    "choose": r"mobilenet_v2@(64|96)\n",
    "search": r"2 trials; the best: [12]\n",
    "evaluate": r"checks: \d+% of 4 found\nslope: .*\nstripes: .*\n",
    "export": r"onnx-fp32: [\d,]+ bytes, [+-]\d\.\d\d pp\nonnx-int8: .*\n",
    "verify": r"onnx-fp32 onnxruntime right\nonnx-int8 onnxruntime right\n",
    "Classifier": r"\w+, \d+%, through \w+ [\d.]+\n\(\(.+\)\)\n",
    "bench": r"\w+-int8: [\d.]+ ms, [\d.]+ ms\n",
    "report": r"\d+ bytes\n",
}


def examples(name: str) -> str:
    """The code in a function's or a class's docstring."""
    text = inspect.getdoc(getattr(edgetl, name)) or ""
    return "\n".join(re.findall(r"^ *```python\n(.*?)^ *```$", text, re.M | re.S))


def test_every_example_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgetl.workstation.recipe import load_recipe, override

    monkeypatch.chdir(tmp_path)
    make_pictures(Path("photos"))
    write_class_folders(Path("new-photos"), 4, first_seed=100)
    shutil.copy("new-photos/slope/00.png", "photo.jpg")
    # The examples name no recipe; this one takes seconds.
    for module in ("training.finetune", "choosing.choose", "search.search"):
        monkeypatch.setattr(
            f"edgetl.workstation.{module}.user_recipe",
            lambda name, **_: override(load_recipe(name), TINY_WITH_HEATMAP),
        )
    torch.save(torchvision.models.mobilenet_v2().state_dict(), "mobilenet_v2.pth")
    assert list(PRINTED) == list(VERBS)
    variables: dict[str, Any] = {}
    for name, printed in PRINTED.items():
        code = textwrap.dedent(examples(name))
        assert f"edgetl.{name}(" in code
        exec(compile(code, f"<example of edgetl.{name}>", "exec"), variables)
        assert re.fullmatch(printed, capsys.readouterr().out), name
