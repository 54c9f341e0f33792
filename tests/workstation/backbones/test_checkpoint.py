import json
import re
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgetl.core.errors import SchemaError, WeightsError  # noqa: E402
from edgetl.workstation.backbones.checkpoint import load_checkpoint, read_facts  # noqa: E402
from tests.tiny import NETWORK  # noqa: E402


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run, to be damaged."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_a_checkpoint_is_loaded_in_eval_mode_with_its_facts(tiny_run: Path) -> None:
    network, facts = load_checkpoint(tiny_run)
    assert not network.model.training
    assert facts.labels == ("checks", "slope", "stripes")
    assert (facts.backbone, facts.weights, facts.preprocess.size_px) == (NETWORK, "none", 32)
    assert network.head().out_features == 3


def test_a_folder_without_a_checkpoint_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        read_facts(tmp_path)
    assert str(caught.value) == f"'{tmp_path}' is not a run: it has no checkpoint.json."
    assert caught.value.hint == "make one with `edgetl finetune DATA -o RUN`."


def test_altered_tensors_are_refused(run: Path) -> None:
    path = run / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last weight's sign or exponent: it still loads
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_checkpoint(run)
    assert str(caught.value) == f"'{path}' does not match the sha256 in checkpoint.json."
    assert caught.value.hint == "both files must come from the same run; fine-tune again."


def test_tensors_cut_short_are_refused(run: Path) -> None:
    path = run / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=re.escape(f"'{path}' cannot be read as weights: ")):
        load_checkpoint(run)


def test_tensors_of_another_backbone_are_refused_by_name(run: Path) -> None:
    facts = run / "checkpoint.json"
    facts.write_text(facts.read_text().replace(f'"{NETWORK}"', '"resnet18"', 1))
    with pytest.raises(WeightsError) as caught:
        load_checkpoint(run)
    assert str(caught.value).startswith(
        f"'{run / 'checkpoint.safetensors'}' as 'resnet18' does not fit: 'conv1.weight' is missing;"
    )


def test_tensors_of_another_number_of_classes_are_refused(run: Path) -> None:
    facts = run / "checkpoint.json"
    facts.write_text(facts.read_text().replace('"slope",', '"slope", "spots",', 1))
    with pytest.raises(WeightsError, match=r"'classifier\.weight' is \[3, 256\], not \[4, 256\]"):
        load_checkpoint(run)


def test_facts_of_an_unknown_backbone_list_the_choices(run: Path) -> None:
    facts = run / "checkpoint.json"
    facts.write_text(facts.read_text().replace(f'"{NETWORK}"', '"mobilenet_v9"', 1))
    with pytest.raises(WeightsError) as caught:
        load_checkpoint(run)
    assert str(caught.value) == "There is no backbone 'mobilenet_v9'."


def test_damaged_facts_are_a_schema_error(run: Path) -> None:
    (run / "checkpoint.json").write_text("{")
    with pytest.raises(SchemaError, match=r"checkpoint\.json' is not well formed"):
        load_checkpoint(run)


def with_temperature(run: Path, temperature: float | None) -> None:
    """Write another temperature into the facts, or none, as older runs have."""
    facts = json.loads((run / "checkpoint.json").read_text()) | {"temperature": temperature}
    if temperature is None:
        del facts["temperature"]
    (run / "checkpoint.json").write_text(json.dumps(facts))


def test_a_run_without_a_temperature_answers_at_one(run: Path) -> None:
    with_temperature(run, None)
    assert read_facts(run).temperature == 1.0


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-300, 1e300])
def test_a_temperature_nothing_could_be_divided_by_is_refused(
    run: Path, temperature: float
) -> None:
    with_temperature(run, temperature)
    with pytest.raises(SchemaError, match=r"Expected `float` .= [\d.]+ - at `\$\.temperature`"):
        read_facts(run)


def test_a_checkpoint_of_before_refits_opens(run: Path) -> None:
    facts = json.loads((run / "checkpoint.json").read_text())
    del facts["temperature_from"], facts["twin"]
    (run / "checkpoint.json").write_text(json.dumps(facts))
    assert read_facts(run).temperature_from is read_facts(run).twin is None
