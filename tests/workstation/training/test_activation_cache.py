import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgetl.core.errors import EdgetlError  # noqa: E402
from edgetl.core.progress import Silent  # noqa: E402
from edgetl.workstation.backbones.build import build_network  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.training import activation_cache as prefix  # noqa: E402
from edgetl.workstation.training.activation_cache import FrozenFront, cache_activations  # noqa: E402
from edgetl.workstation.training.augment import plain_batch  # noqa: E402
from edgetl.workstation.training.compute import Compute  # noqa: E402
from edgetl.workstation.training.forward_patches import (  # noqa: E402
    folded_batch_norm,
    speed_up_depthwise,
)
from tests.making import PLAIN  # noqa: E402
from tests.workstation.training.tiny import made, recipe, tiny_network  # noqa: E402

COMPUTE = Compute(recipe())
CUTTABLE = (
    "mobilenet_v2", "mobilenet_v3_small", "resnet18", "vgg16", "alexnet", "shufflenet_v2",
    "squeezenet", "mnasnet", "mobilenet_v4", "efficientnet_lite0",
)  # fmt: skip


def view(pixels: torch.Tensor, _chosen: object = None) -> torch.Tensor:
    return plain_batch(pixels, PLAIN)


@pytest.mark.parametrize("name", CUTTABLE)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_tail_answers_bit_for_bit_as_the_whole_network_wherever_it_is_cut(
    name: str, precision: str
) -> None:
    backbone = find_backbone(name)
    torch.manual_seed(0)
    network = build_network(backbone, 3)
    network.model.eval()
    compute = Compute(recipe(f"precision={precision}"))
    compute.place(network.model)
    batch = torch.randn(2, 3, max(64, backbone.smallest_px), max(64, backbone.smallest_px))
    batch = batch.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), compute.autocast():
        whole = network.model(batch)
    count = len(network.blocks())
    for frozen in {1, 2, count // 2, count - 1, count}:
        front = FrozenFront(network, frozen)
        front.tail.model.eval()
        seen = front.activations(batch, compute)
        with torch.inference_mode(), compute.autocast():
            assert torch.equal(front.tail.model(seen), whole), frozen


def test_tail_and_whole_share_every_parameter_and_buffer() -> None:
    network = tiny_network()
    tail = FrozenFront(network, 2).tail.model
    own = {id(t) for t in (*network.model.parameters(), *network.model.buffers())}
    shared = [*tail.parameters(), *tail.buffers()]
    assert shared
    assert {id(tensor) for tensor in shared} <= own
    assert not list(tail.stem.parameters())
    assert [len(list(block.parameters())) for block in tail.blocks] == [0, 0, 3]


def test_statistics_that_the_tail_learns_are_the_whole_networks() -> None:
    network = tiny_network()
    tail = FrozenFront(network, 2).tail.model.train()
    before = network.model.blocks[2][1].running_mean.clone()
    tail(torch.randn(4, 4, 4, 4))
    assert not torch.equal(network.model.blocks[2][1].running_mean, before)
    assert int(network.model.blocks[2][1].num_batches_tracked) == 1


def test_the_whole_network_still_answers_after_it_was_cut() -> None:
    network = tiny_network()
    network.model.eval()
    batch = view(made(2).tensor(np.arange(2), COMPUTE.device))
    before = network.model(batch)
    front = FrozenFront(network, 2)
    front.activations(batch, COMPUTE)
    assert torch.equal(network.model(batch), before)


def test_the_tails_fast_convolutions_are_its_own_with_the_networks_weights() -> None:
    network = tiny_network()
    speed_up_depthwise(network.model)
    depthwise = network.model.blocks[1]
    tail = FrozenFront(network, 1).tail.model
    assert tail.blocks[1] is not depthwise
    assert tail.blocks[1].forward.args == (tail.blocks[1],)
    assert tail.blocks[1].weight is depthwise.weight
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(tail.blocks[1](x), depthwise(x))


def test_activations_are_kept_for_each_view_and_picture() -> None:
    front, pictures = FrozenFront(tiny_network(), 2), made(5)
    views = [view, lambda pixels, _chosen: view(255 - pixels)]
    kept = cache_activations(front, pictures, views, COMPUTE, Silent(), stage="frozen part")
    assert len(kept) == 5
    assert kept.activations.shape == (2, 5, 8, 8, 4)  # channels last
    chosen = np.array([3, 1])
    for epoch, seen in ((0, views[0]), (1, views[1]), (2, views[0])):  # in turn
        with folded_batch_norm(front.whole):
            expected = front.activations(
                seen(pictures.tensor(chosen, COMPUTE.device), chosen), COMPUTE
            )
        assert torch.equal(kept.batch(chosen, epoch), expected)
        assert kept.batch(chosen, epoch).stride() == expected.stride()


def test_what_learns_cannot_change_what_is_kept() -> None:
    front, pictures = FrozenFront(tiny_network(), 2), made(3)
    kept = cache_activations(front, pictures, [view], COMPUTE, Silent(), stage="frozen part")
    before = kept.activations.clone()
    kept.batch(np.arange(3), 0).zero_()  # as a ReLU in place would
    assert torch.equal(kept.activations, before)


def test_fewer_views_are_kept_where_they_would_take_too_much_room(monkeypatch) -> None:
    front, pictures = FrozenFront(tiny_network(), 2), made(5)
    one_view = 5 * 4 * 8 * 8 * 4
    for room, expected in ((one_view - 1, 1), (2 * one_view, 2), (9 * one_view, 3)):
        monkeypatch.setattr(prefix, "ROOM_BYTES", room)
        kept = cache_activations(
            front, pictures, [view] * 3, COMPUTE, Silent(), stage="frozen part"
        )
        assert len(kept.activations) == expected


def test_no_room_for_activations_says_where(monkeypatch, tmp_path) -> None:
    import resource
    import signal
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(EdgetlError) as caught:
            front = FrozenFront(tiny_network(), 2)
            cache_activations(front, made(5), [view], COMPUTE, Silent(), stage="frozen part")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(caught.value) == (
        f"No room in '{tmp_path}' for 0.0 GB of activations: File too large."
    )
    assert caught.value.hint == "make room there, or set TMPDIR to a larger disk."
    assert list(tmp_path.iterdir()) == []
