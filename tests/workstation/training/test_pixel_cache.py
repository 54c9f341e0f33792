import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgetl.core.errors import DataError, EdgetlError  # noqa: E402
from edgetl.core.progress import Silent  # noqa: E402
from edgetl.data.folders import Example  # noqa: E402
from edgetl.runtime.preprocess import load_pixels  # noqa: E402
from edgetl.workstation.training.pixel_cache import decode_all  # noqa: E402
from tests.making import PLAIN, draw, inside, write_class_folders  # noqa: E402

pytestmark = pytest.mark.usefixtures("cache")
ROW = 32 * 32 * 3


class Counted(Silent):
    """How many pictures each stage was about."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator:
        assert unit == "pictures"
        self.stages.append((name, total))
        with super().stage(name, total, unit) as shown:
            yield shown


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    """Twelve pictures of three classes."""
    root = write_class_folders(tmp_path / "data", 4)
    return [Example(path, i // 4) for i, path in enumerate(sorted(root.rglob("*.png")))]


def decode(examples: list[Example], progress=None, spec=PLAIN):
    return decode_all(examples, spec, progress or Silent(), stage="decoding")


def decoded_now(examples: list[Example]) -> int:
    """How many of them a run has to decode."""
    counted = Counted()
    decode(examples, counted)
    assert len(counted.stages) <= 1
    return sum(total for _, total in counted.stages)


def right(examples: list[Example]) -> bool:
    """Whether every row is what the device would make of the picture."""
    pixels, kept, unreadable = decode(examples)
    rows = pixels.tensor(np.arange(len(pixels)), torch.device("cpu")).numpy()
    expected = np.stack([load_pixels(example.path, PLAIN) for example in examples])
    assert (kept, unreadable) == (examples, [])
    assert pixels.labels.tolist() == [example.label for example in examples]
    return np.array_equal(rows, expected)


def rows_folder(cache: Path) -> Path:
    (folder,) = (cache / "pixels").iterdir()
    return folder


def test_rows_are_what_the_device_makes_of_the_pictures(examples, cache) -> None:
    assert right(examples)
    assert inside(rows_folder(cache)) == ["index.json", "lock", "rows.u8"]
    assert (rows_folder(cache) / "rows.u8").stat().st_size == 12 * ROW


def test_pictures_are_chosen_by_their_place_in_the_part(examples) -> None:
    decode(examples)
    some = [examples[i] for i in (7, 2, 9)]  # elsewhere in the file than in this part
    pixels, _, _ = decode(some)
    chosen = pixels.tensor(np.array([2, 0]), torch.device("cpu"))
    assert chosen.dtype == torch.uint8
    for got, example in zip(chosen.numpy(), (some[2], some[0]), strict=True):
        assert np.array_equal(got, load_pixels(example.path, PLAIN))


def test_a_second_run_decodes_nothing(examples) -> None:
    assert decoded_now(examples) == 12
    assert decoded_now(examples) == 0
    assert right(examples)


def test_only_new_pictures_are_decoded(examples) -> None:
    assert decoded_now(examples[:5]) == 5
    assert decoded_now(examples) == 7
    assert right(examples)


def test_another_normalisation_shares_rows_and_another_size_does_not(examples) -> None:
    import msgspec

    decode(examples)
    for changed, expected in (({"mean": (0.1, 0.2, 0.3)}, []), ({"size_px": 48}, [12])):
        counted = Counted()
        pixels, _, _ = decode(examples, counted, msgspec.structs.replace(PLAIN, **changed))
        assert [total for _, total in counted.stages] == expected
        assert pixels.size_px == changed.get("size_px", 32)


@pytest.mark.parametrize("how", ["content", "time"])
def test_a_picture_that_changed_is_decoded_again_and_only_it(examples, how: str) -> None:
    decode(examples)
    path = examples[3].path
    if how == "content":
        draw("stripes", 99).save(path)
    else:  # the same number of bytes, written over later
        later = path.stat().st_mtime_ns + 1_000_000_000
        os.utime(path, ns=(later, later))
    assert decoded_now(examples) == 1
    assert right(examples)


def test_unreadable_pictures_are_set_aside_each_time(examples, tmp_path) -> None:
    bad = tmp_path / "data" / "slope" / "bad.png"
    bad.write_text("no picture")
    wanted = [*examples, Example(bad, 1)]
    for _ in range(2):
        pixels, kept, unreadable = decode(wanted)
        assert [item.path for item in unreadable] == [bad]
        assert "bad.png' cannot be read as a picture" in unreadable[0].reason
        assert (len(pixels), kept) == (12, examples)


def test_where_nothing_can_be_read_it_says_so(tmp_path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    with pytest.raises(DataError, match=r"^None of the 2 pictures can be read\.$"):
        decode([Example(bad, 0), Example(tmp_path / "gone.png", 0)])


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"\xff\xfe", b'{"a": 1}', b"[1, 2]", b'["a", "a"]', b'["a", "b"]'],
    ids=["missing", "empty", "cut", "no-text", "other", "numbers", "twice", "fewer-than-rows"],
)
def test_a_damaged_index_costs_a_decoding_and_no_more(examples, cache, content) -> None:
    decode(examples)
    index = rows_folder(cache) / "index.json"
    index.unlink() if content is None else index.write_bytes(content)
    assert decoded_now(examples) == 12
    assert right(examples)
    assert decoded_now(examples) == 0


@pytest.mark.parametrize("left", [0, 5 * ROW, 12 * ROW - 1])
def test_rows_that_were_cut_off_are_decoded_again(examples, cache, left: int) -> None:
    decode(examples)
    os.truncate(rows_folder(cache) / "rows.u8", left)
    assert right(examples)
    assert (rows_folder(cache) / "rows.u8").stat().st_size == 12 * ROW


def test_half_a_row_behind_the_last_known_one_is_cut_off(examples, cache) -> None:
    decode(examples[:5])
    with (rows_folder(cache) / "rows.u8").open("ab") as file:
        file.write(b"x" * 100)
    assert decoded_now(examples) == 7
    assert right(examples)


def test_a_run_keeps_its_rows_while_another_begins_the_file_anew(examples, cache) -> None:
    pixels, _, _ = decode(examples)
    before = pixels.tensor(np.arange(12), torch.device("cpu")).clone()
    (rows_folder(cache) / "index.json").write_text("damaged")
    decode(examples[6:])
    assert torch.equal(pixels.tensor(np.arange(12), torch.device("cpu")), before)


FILL = """
import sys
from pathlib import Path
from edgetl.core.progress import Silent
from edgetl.data.folders import Example
from edgetl.workstation.training import pixel_cache as pixels
from tests.making import PLAIN

pixels._COMMIT_EVERY = 4
class Told(Silent):
    def stage(self, name, total, unit):
        print("begun", flush=True)
        return super().stage(name, total, unit)
examples = [Example(Path(path), 0) for path in sys.argv[1:]]
print(len(pixels.decode_all(examples, PLAIN, Told(), stage="decoding")[0]))
"""


def filling(examples: list[Example]) -> subprocess.Popen:
    paths = [str(example.path) for example in examples]
    command = [sys.executable, "-c", FILL, *paths]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_fill_at_once_both_have_the_right_rows(examples) -> None:
    both = [filling(examples), filling(examples[::-1])]
    answers = [process.communicate(timeout=120)[0].split() for process in both]
    assert [answer[-1] for answer in answers] == ["12", "12"]
    assert sum(answer.count("begun") for answer in answers) == 1  # the other had nothing to do
    assert right(examples)
    assert decoded_now(examples) == 0


@pytest.fixture
def many(tmp_path: Path) -> list[Example]:
    """Pictures that take some seconds to decode."""
    root = tmp_path / "many"
    root.mkdir()
    draw("checks", 0, 1200, 900).save(root / "00.png", compress_level=1)
    content = (root / "00.png").read_bytes()
    for i in range(1, 60):
        (root / f"{i:03}.png").write_bytes(content)
    return [Example(path, 0) for path in sorted(root.iterdir())]


def test_a_run_killed_while_decoding_leaves_a_good_cache(many, cache) -> None:
    process = filling(many)
    process.stdout.readline()
    while not (cache / "pixels").is_dir() or not (rows_folder(cache) / "index.json").is_file():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(json.loads((rows_folder(cache) / "index.json").read_text()))
    assert 0 < kept < 60
    assert decoded_now(many) == 60 - kept
    assert right(many)


def assert_refused(examples: list[Example], cache: Path, reason: str) -> None:
    with pytest.raises(EdgetlError) as caught:
        decode(examples)
    assert str(caught.value) == (
        f"'{cache}' cannot take {len(examples)} decoded pictures (0.0 GB): {reason}."
    )
    assert caught.value.hint == (
        f"make room or permission there ('{cache / 'pixels'}' may be deleted at any time), "
        "or set EDGETL_CACHE to a folder on another disk."
    )


@pytest.fixture
def small_disk(cache: Path) -> Iterator[Path]:
    """The cache on a disk of 96 kB."""
    cache.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(cache)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk")
    yield cache
    subprocess.run(["umount", "--lazy", str(cache)], check=True)


def test_a_disk_too_small_is_told_before_decoding(examples, small_disk) -> None:
    decode(examples[:2])
    counted = Counted()
    bulky = [*examples, *copies(examples)]
    with pytest.raises(EdgetlError):
        decode(bulky, counted)
    assert counted.stages == []
    assert_refused(bulky, small_disk, "No space left on device")
    assert right(examples[:2])
    assert decoded_now(examples[:2]) == 0


def copies(examples: list[Example]) -> list[Example]:
    made = []
    for number in range(3):
        for example in examples:
            path = example.path.with_name(f"copy{number}-{example.path.name}")
            path.write_bytes(example.path.read_bytes())
            made.append(Example(path, example.label))
    return made


def test_a_disk_that_fills_up_meanwhile_says_so_and_leaves_a_good_cache(
    examples, small_disk
) -> None:
    class Greedy(Counted):
        """Another program that takes the room once decoding has begun."""

        @contextmanager
        def stage(self, name: str, total: int, unit: str) -> Iterator:
            other = (small_disk / "other").open("wb", buffering=0)
            with other, pytest.raises(OSError, match="No space left"):
                while other.write(b"x" * 4096):
                    pass
            with super().stage(name, total, unit) as shown:
                yield shown

    decode(examples[:2])
    with pytest.raises(EdgetlError, match=r"cannot take 12 .*: No space left on device\.$"):
        decode(examples, Greedy())
    assert decoded_now(examples[:2]) == 0
    (small_disk / "other").unlink()
    assert right(examples)


def test_a_file_size_limit_is_told_like_a_full_disk(examples, cache) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * ROW + 100, limits[1]))
    try:
        assert_refused(examples, cache, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert right(examples)


def test_a_cache_that_cannot_be_made_says_what_to_set(examples, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "file" / "cache"))
    assert_refused(examples, tmp_path / "file" / "cache", "Not a directory")
