import pytest

torch = pytest.importorskip("torch")

from edgetl.core.errors import EdgetlError  # noqa: E402
from edgetl.workstation.recipe import Recipe  # noqa: E402
from edgetl.workstation.training.compute import Compute, choose_device, cuda_index  # noqa: E402

GB = 1 << 30


@pytest.mark.parametrize(
    ("wanted", "free_bytes", "index"),
    [
        ("auto", [], None),
        ("auto", [8 * GB], 0),
        ("auto", [2 * GB, 30 * GB], 1),  # the first one is busy
        ("auto", [30 * GB, 2 * GB], 0),
        ("auto", [8 * GB, 8 * GB], 0),
        ("cuda", [2 * GB, 30 * GB, 4 * GB], 1),
        ("cuda:0", [2 * GB, 30 * GB], 0),  # the user's own choice
        ("cuda:1", [30 * GB, 2 * GB], 1),
    ],
)
def test_the_gpu_with_the_most_free_memory_is_taken(wanted, free_bytes, index) -> None:
    assert cuda_index(wanted, free_bytes) == index


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_an_error_and_never_silently_the_cpu(wanted: str) -> None:
    with pytest.raises(EdgetlError) as caught:
        cuda_index(wanted, [])
    assert str(caught.value) == f"--device {wanted}: torch finds no CUDA GPU here."
    assert caught.value.hint is not None
    assert "--device cpu" in caught.value.hint


def test_a_gpu_past_the_last_one_names_those_there_are() -> None:
    with pytest.raises(EdgetlError, match="There is no GPU 'cuda:2' here") as caught:
        cuda_index("cuda:2", [GB, GB])
    assert caught.value.hint == "found: cuda:0, cuda:1."


@pytest.mark.parametrize("wanted", ["gpu", "cuda:", "cuda:x", "CPU", "", "cuda:9999"])
def test_a_device_of_no_known_name_is_an_error(wanted: str) -> None:
    with pytest.raises(EdgetlError) as caught:
        choose_device(wanted)
    assert str(caught.value) == f"There is no device '{wanted}'."
    assert caught.value.hint == "--device is auto, cpu, cuda, cuda:N or mps."


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an Apple GPU here")
def test_an_apple_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(EdgetlError, match="torch finds no Apple GPU here"):
        choose_device("mps")


def test_the_cpu_is_taken_where_it_is_wanted() -> None:
    compute = Compute(Recipe(precision="fp32"), "cpu")
    assert compute.device == torch.device("cpu")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert compute.described == "2 CPU cores, float32"
        torch.set_num_threads(1)
        assert compute.described == "1 CPU core, float32"
    finally:
        torch.set_num_threads(threads)
