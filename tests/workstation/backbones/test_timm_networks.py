"""Any network of timm as a backbone, with weights from a file or from a hub."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402
import timm  # noqa: E402

from edgetl.core.errors import SchemaError, WeightsError  # noqa: E402
from edgetl.core.progress import Silent  # noqa: E402
from edgetl.workstation.backbones import hub  # noqa: E402
from edgetl.workstation.backbones.build import build_network, features  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.backbones.weights import find_weights  # noqa: E402
from edgetl.workstation.recipe import Head, Recipe  # noqa: E402
from edgetl.workstation.training.initial_network import make_initial_network  # noqa: E402


@pytest.mark.parametrize(
    ("name", "head", "blocks"),
    [
        ("test_resnet", "fc", ("layer1", "layer2", "layer3", "layer4")),
        (
            "test_efficientnet",
            "classifier",
            ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4"),
        ),
        ("regnety_002", "head.fc", ("s1", "s2", "s3", "s4")),
        ("repvgg_a0", "head.fc", ("stages.0", "stages.1", "stages.2", "stages.3")),
    ],
)
def test_a_network_is_described_as_timm_describes_it(
    name: str, head: str, blocks: tuple[str, ...]
) -> None:
    backbone = find_backbone(f"timm:{name}")
    facts = timm.get_pretrained_cfg(name)
    (source,) = backbone.sources
    assert (backbone.head, backbone.blocks) == (head, blocks)
    assert backbone.size_px == facts.input_size[-1]
    assert (source.mean, source.std, source.crop) == (facts.mean, facts.std, facts.crop_pct)
    assert source.hub == facts.hf_hub_id == f"timm/{name}.{facts.tag}"
    network = build_network(backbone, 3)
    assert (network.head().out_features, len(network.blocks())) == (3, len(blocks))
    network.model.eval()
    assert features(network, torch.rand(1, 3, 64, 64)).shape == (1, network.head().in_features)


def test_a_head_with_hidden_layers_replaces_the_last_layer() -> None:
    network = build_network(find_backbone("timm:regnety_002"), 3, Head(hidden=(16,)))
    network.model.eval()
    assert network.head().in_features == 16
    assert network.model(torch.rand(1, 3, 32, 32)).shape == (1, 3)


def test_a_tag_chooses_the_weights() -> None:
    (source,) = find_backbone("timm:resnet18.tv_in1k").sources
    assert (source.file, source.hub, source.licence) == (
        "resnet18.tv_in1k.safetensors", "timm/resnet18.tv_in1k", "bsd-3-clause (timm)",
    )  # fmt: skip
    assert source.resize == "bilinear"


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("rsnet18", "has no network 'rsnet18'", "did you mean 'timm:resnet18'?"),
        ("test_resnet.nothing", "has no weights 'nothing' for 'test_resnet'", "it has r160_in1k."),
        ("deit_tiny_distilled_patch16_224", "has 2 last layers", "a single classifier"),
        ("dla34", "ends in a Conv2d", "as most do"),
        ("mobilevit_xxs", "cannot be exported: its code branches on values", "choose another"),
    ],
)
def test_what_cannot_be_used_is_refused_before_training(name: str, message: str, hint: str) -> None:
    with pytest.raises(WeightsError) as caught:
        find_backbone(f"timm:{name}")
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_vision_transformer_takes_its_own_size_only() -> None:
    backbone = find_backbone("timm:vit_tiny_patch16_224")
    backbone.require_size(backbone.size_px)
    with pytest.raises(SchemaError) as caught:
        backbone.require_size(160)
    assert (
        str(caught.value)
        == "Backbone 'timm:vit_tiny_patch16_224' takes pictures of 224 px only, not of 160."
    )


def test_a_users_file_fits_by_name_and_keeps_its_normalisation(tmp_path: Path) -> None:
    published = timm.create_model("test_resnet").state_dict()
    safetensors.torch.save_file(published, tmp_path / "w.safetensors")
    recipe = Recipe(backbone="timm:test_resnet", weights=str(tmp_path / "w.safetensors"))
    begun = make_initial_network(recipe, 3, Silent())
    facts = timm.get_pretrained_cfg("test_resnet")
    assert (begun.preprocess.mean, begun.preprocess.size_px) == (facts.mean, 160)
    assert torch.equal(
        begun.network.model.state_dict()["conv1.0.weight"], published["conv1.0.weight"]
    )


class _Hub(BaseHTTPRequestHandler):
    """Answers as the hub does: the file's hash in a header, and the file at another address."""

    content, etag = b"", ""

    def do_HEAD(self) -> None:
        if self.path != "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors":
            self.send_error(404)
            return
        self.send_response(302)
        self.send_header("X-Linked-Etag", f'"{self.etag}"')
        self.send_header("X-Linked-Size", str(len(self.content)))
        self.send_header("X-Repo-Commit", "0" * 40)
        # Another host than the hub's, as the real one redirects to its store.
        self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/stored")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/stored" else 404)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[dict[str, torch.Tensor]]:
    """A network's tensors, which a hub on this machine serves."""
    tensors = timm.create_model("test_resnet").state_dict()
    _Hub.content = safetensors.torch.save(tensors)
    _Hub.etag = hashlib.sha256(_Hub.content).hexdigest()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(
        hub,
        "hf_hub_url",
        lambda repository, file: f"{address}/{repository}/resolve/main/{file}",
    )
    yield tensors
    server.shutdown()
    server.server_close()


def test_weights_are_downloaded_from_the_hub_once(weights: dict[str, torch.Tensor]) -> None:
    begun = make_initial_network(Recipe(backbone="timm:test_resnet"), 3, Silent())
    assert torch.equal(
        begun.network.model.state_dict()["conv1.0.weight"], weights["conv1.0.weight"]
    )
    assert begun.weights.startswith("imagenet (test_resnet.r160_in1k.safetensors; ")
    _Hub.etag = "0" * 64  # a second download would fail
    again = find_weights(find_backbone("timm:test_resnet"), Silent())
    assert again.path.read_bytes() == _Hub.content


def test_a_file_with_another_hash_than_the_hub_states_is_refused(
    weights: dict[str, torch.Tensor], cache: Path
) -> None:
    _Hub.etag = "0" * 64
    with pytest.raises(WeightsError, match="has another sha256 than expected"):
        find_weights(find_backbone("timm:test_resnet"), Silent())
    assert not list(cache.rglob("*.safetensors"))


def test_a_file_without_a_sha256_is_not_downloaded(weights: dict[str, torch.Tensor]) -> None:
    _Hub.etag = "a git blob's name"
    with pytest.raises(WeightsError, match="has no sha256 to check a download by"):
        find_weights(find_backbone("timm:test_resnet"), Silent())


def test_a_repository_that_the_hub_lacks_says_how_to_go_on(
    weights: dict[str, torch.Tensor],
) -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights(find_backbone("timm:test_efficientnet"), Silent())
    assert "cannot be downloaded" in str(caught.value)
    assert "--weights test_efficientnet.r160_in1k.safetensors" in (caught.value.hint or "")
