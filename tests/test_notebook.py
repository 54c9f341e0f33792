"""examples/quickstart.ipynb, executed on tiny pictures."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from edgetl.core.schema import to_yaml
from edgetl.workstation.recipe import load_recipe, override
from tests.tiny import TINY_WITH_HEATMAP

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "quickstart.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_it_is_kept_without_outputs(notebook: nbformat.NotebookNode) -> None:
    cells = code_cells(notebook)
    assert len(cells) == 5
    assert [cell.outputs for cell in cells] == [[]] * 5
    assert {cell.execution_count for cell in cells} == {None}


@pytest.mark.slow
def test_it_goes_from_photographs_to_an_answer_and_a_heatmap(
    notebook: nbformat.NotebookNode,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    recipe = tmp_path / "quick.yaml"
    recipe.write_text(to_yaml(override(load_recipe("edge-default"), TINY_WITH_HEATMAP)))
    settings, train, export, ask, heatmap = code_cells(notebook)
    values = {"photos": str(pictures), "recipe": str(recipe), "results": "out"}
    names = [line.targets[0].id for line in ast.parse(settings.source).body]
    assert names == list(values)
    settings.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "of 12 held-out pictures are right" in printed(train)
    assert re.search(r"onnx-int8: 0\.\d MB, top-1 ", printed(export))
    assert "onnx-int8 through onnxruntime" in printed(ask)
    assert "image/png" in heatmap.outputs[-1].data
    assert (tmp_path / "out" / "model.edgetl").is_file()
