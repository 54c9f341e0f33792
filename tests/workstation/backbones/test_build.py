import pytest

torch = pytest.importorskip("torch")

from edgetl.core.errors import WeightsError  # noqa: E402
from edgetl.workstation.backbones.build import (  # noqa: E402
    Network,
    build_network,
    features,
    freeze_all_but_last,
)
from edgetl.workstation.backbones.catalogue import BACKBONES, find_backbone  # noqa: E402

NORMS = torch.nn.modules.batchnorm._BatchNorm


def batch_for(name: str, count: int = 2) -> torch.Tensor:
    """Noise of a size that the backbone takes."""
    size = max(64, find_backbone(name).smallest_px)
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def step(network: Network, frozen: list[torch.nn.Module]) -> None:
    """One large training step on noise."""
    network.model.train()
    for norm in frozen:
        norm.eval()
    learning = [p for p in network.model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.5)
    batch = batch_for(network.backbone.name, 4)
    loss = torch.nn.functional.cross_entropy(network.model(batch), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("name", list(BACKBONES))
class TestEveryBackbone:
    """The catalogue's facts hold for the networks themselves."""

    def test_its_head_answers_for_the_users_classes(self, name: str) -> None:
        network = build_network(find_backbone(name), 3)
        assert network.head().out_features == 3
        network.model.eval()
        with torch.inference_mode():
            assert network.model(batch_for(name)).shape == (2, 3)

    def test_its_features_are_what_the_head_sees(self, name: str) -> None:
        network = build_network(find_backbone(name), 3)
        network.model.eval()
        batch = batch_for(name)
        with torch.inference_mode():
            seen = features(network, batch)
            assert seen.shape == (2, network.head().in_features)
            assert torch.allclose(network.head()(seen), network.model(batch), atol=1e-5)

    def test_its_blocks_are_most_of_it(self, name: str) -> None:
        network = build_network(find_backbone(name), 3)
        blocks = network.blocks()
        assert len(blocks) >= 4
        inside = sum(p.numel() for block in blocks for p in block.parameters())
        classifier = network.model.get_submodule(
            network.backbone.classifier or network.backbone.head
        )
        behind = sum(p.numel() for p in classifier.parameters())
        assert inside > 0.5 * (sum(p.numel() for p in network.model.parameters()) - behind)

    def test_its_catalogue_entry_is_under_its_own_name(self, name: str) -> None:
        backbone = find_backbone(name)
        assert backbone.name == name
        for source in backbone.sources:
            assert 8 <= len(source.sha256) <= 64 or source.sha256 == ""
            assert set(source.sha256) <= set("0123456789abcdef")
            assert source.url.startswith("https://") or source.wheel or not source.sha256
            assert source.licence

    def test_only_the_last_blocks_and_the_head_learn(self, name: str) -> None:
        network = build_network(find_backbone(name), 3)
        frozen = freeze_all_but_last(network, 1)
        before = {k: v.clone() for k, v in network.model.state_dict().items()}
        step(network, frozen)
        *early, last = network.blocks()
        for block in early:
            assert all(p.grad is None for p in block.parameters())
        assert any(p.grad is not None for p in last.parameters())
        assert network.head().weight.grad is not None
        fixed = {id(v) for block in early for v in block.state_dict(keep_vars=True).values()}
        moved = set()
        for key, value in network.model.state_dict(keep_vars=True).items():
            if not torch.equal(value, before[key]):
                moved.add(key)
                assert id(value) not in fixed, key
        head = {
            k
            for k, v in network.model.state_dict(keep_vars=True).items()
            if v is network.head().weight
        }
        assert head <= moved

    def test_whatever_comes_before_the_blocks_is_frozen_with_them(self, name: str) -> None:
        network = build_network(find_backbone(name), 3)
        freeze_all_but_last(network, 0)
        first = next(network.model.parameters())
        assert not first.requires_grad
        assert all(p.requires_grad for p in network.head().parameters())


def test_without_a_number_of_blocks_everything_learns() -> None:
    network = build_network(find_backbone("mobilenet_v2"), 3)
    assert freeze_all_but_last(network, None) == []
    assert all(p.requires_grad for p in network.model.parameters())


def test_frozen_norms_are_those_without_anything_to_learn() -> None:
    network = build_network(find_backbone("mobilenet_v2"), 3)
    frozen = freeze_all_but_last(network, 1)
    norms = [m for m in network.model.modules() if isinstance(m, NORMS)]
    assert len(frozen) == len(norms) - 1  # the last block holds one
    assert norms[-1] not in frozen


def test_more_blocks_than_there_are_freeze_none_of_them() -> None:
    network = build_network(find_backbone("resnet18"), 3)
    freeze_all_but_last(network, 99)
    assert all(p.requires_grad for block in network.blocks() for p in block.parameters())


def test_an_unknown_backbone_lists_the_choices() -> None:
    with pytest.raises(WeightsError) as caught:
        find_backbone("mobilenetv2")
    assert str(caught.value) == "There is no backbone 'mobilenetv2'."
    assert caught.value.hint == (
        "did you mean 'mobilenet_v2'? The choices are: " + ", ".join(sorted(BACKBONES)) + "."
    )
