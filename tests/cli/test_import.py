"""`edgetl import`, and what `export` and `inspect` say of it."""

import os

import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from tests.cli.test_device_commands import expect_error  # noqa: E402
from tests.making import inside  # noqa: E402
from tests.tiny import NETWORK  # noqa: E402


@pytest.fixture
def weights(tiny_run, tmp_path):
    """The tiny run's weights and labels, as another tool leaves them."""
    state = safetensors.torch.load_file(tiny_run / "checkpoint.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    (tmp_path / "labels.txt").write_text("checks\nslope\nstripes\n")
    return tmp_path / "w.pth"


def test_a_state_dict_is_imported_exported_and_shown(edgetl, weights, pictures, tmp_path) -> None:
    run, out = tmp_path / "run", tmp_path / "m.edgetl"
    answer = edgetl(
        "import", weights, "-o", run, "--backbone", NETWORK,
        "--labels", tmp_path / "labels.txt", "--image-size", 32,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.out == (
        f"{run}: {NETWORK} for 3 labels, pictures of 32 px; "
        f"next: edgetl export {run} --calibration PICTURES\n"
    )
    pytest.importorskip("onnx")
    answer = edgetl(
        "export", run, "-o", out, "--format", "onnx", "--fp32", "--calibration", pictures
    )
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[1].split()[2:6] == ["-", "-", "-", "100.00"]
    shown = edgetl("inspect", out).out.splitlines()
    assert "trained     elsewhere, 0 for calibration" in shown
    assert "measured    on 24 unlabelled pictures" in shown


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, witness) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


def test_a_pickle_with_code_is_refused_and_does_not_run(edgetl, weights, tmp_path) -> None:
    torch.save({"state_dict": Trap(tmp_path / "witness")}, weights)
    answer = edgetl(
        "import", weights, "-o", tmp_path / "run", "--backbone", NETWORK,
        "--labels", tmp_path / "labels.txt",
    )  # fmt: skip
    assert answer.code == 1
    assert answer.err.splitlines()[0].startswith(
        f"Error: '{weights}' cannot be read as weights: Weights only load failed"
    )
    assert inside(tmp_path) == ["labels.txt", "w.pth"]


def test_a_file_larger_than_any_network_is_refused_unread(edgetl, weights, tmp_path) -> None:
    with weights.open("r+b") as file:
        file.truncate(3 * 1024**3)  # a hole: it takes no room
    answer = edgetl(
        "import", weights, "-o", tmp_path / "run", "--backbone", NETWORK,
        "--labels", tmp_path / "labels.txt",
    )  # fmt: skip
    expect_error(answer, f"'{weights}' is larger than 2 GB.")


def test_without_labels_it_says_what_to_give(edgetl, weights, tmp_path) -> None:
    answer = edgetl("import", weights, "-o", tmp_path / "run", "--backbone", NETWORK)
    expect_error(answer, f"What '{weights}' is cannot be told from the file alone.")
    assert "Hint: give --backbone NAME and --labels FILE, a label a line." in answer.err
