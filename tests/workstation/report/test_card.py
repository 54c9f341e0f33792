"""The model card: `edgetl report --card`."""

from pathlib import Path

import msgspec
import pytest
import yaml

pytest.importorskip("captum")

from edgetl.bundle.archive import Bundle
from edgetl.workstation.report.card import card_text, plain
from tests.conftest import Command


def parts(text: str) -> tuple[dict, str]:
    """The YAML header and the Markdown below it."""
    empty, header, body = text.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(header), body


def test_the_header_is_that_of_a_model_card(
    edgetl: Command, tiny_bundle: Path, tiny: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "card.md"
    answer = edgetl("report", tiny_bundle, "--card", "-o", out)
    assert answer.code == 0, answer.err
    header, body = parts(out.read_text())
    assert header["pipeline_tag"] == "image-classification"
    assert header["library_name"] == "edgetl"
    (result,) = header["model-index"][0]["results"]
    assert result["task"] == {"type": "image-classification"}
    scores = {metric["name"]: metric["value"] for metric in result["metrics"]}
    for artifact in tiny.manifest.artifacts:
        assert artifact.measured and artifact.measured.top1 is not None
        assert scores[f"top-1, {artifact.name}"] == round(artifact.measured.top1, 4)
        assert artifact.name in body
    assert "## Intended use and limits" in body
    assert "edgetl run model.edgetl" in body


def test_labels_are_text_in_markdown(tiny: Bundle) -> None:
    hostile = ("<b>bold</b>", "[link](javascript:x)", "`code`")
    manifest = msgspec.structs.replace(tiny.manifest, labels=hostile)
    _, body = parts(card_text(manifest, tiny.path))
    assert "<b>" not in body.replace("\\<b", "")
    assert r"\<b\>bold\</b\>, \[link\](javascript:x), \`code\`." in body
    assert plain("a\nb | c") == r"a b \| c"


def test_a_run_is_not_a_bundle(edgetl: Command, tiny_run: Path, tmp_path: Path) -> None:
    answer = edgetl("report", tiny_run, "--card", "-o", tmp_path / "card.md")
    assert answer.code == 1
    assert "is a run; a model card describes a bundle" in answer.err
    assert not (tmp_path / "card.md").exists()


def test_a_card_is_of_one_bundle(edgetl: Command, tiny_bundle: Path) -> None:
    assert edgetl("report", tiny_bundle, tiny_bundle, "--card").code == 2
