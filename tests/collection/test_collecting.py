"""`edgetl run --collect`: which pictures arrive in the folder, and what trouble there may be."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from edgetl.bundle.archive import Bundle, write_bundle
from edgetl.bundle.manifest import UnknownRule
from edgetl.collection import collector as module
from edgetl.collection import store, waiting, writer
from edgetl.collection.choosing import Rules, scene_now
from edgetl.collection.collector import Collector
from edgetl.collection.days import read_days
from edgetl.collection.labels import known_labels
from edgetl.collection.locks import FolderInUseError
from edgetl.collection.records import Contents, Record, read_contents
from edgetl.runtime.classifier import Classifier
from tests.capture.http_camera import HttpCamera, stream
from tests.collection.making import NOON, answer
from tests.conftest import Command
from tests.making import draw, encoded

EVERYTHING = ("--collect-below", 0, "--collect-share", 1)
ALL = Rules(below=0.0, share=1.0, every_s=0.0)


@pytest.fixture(scope="module")
def strict_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with a rule by which every picture is unknown."""
    opened, out = Bundle(tiny_bundle), tmp_path_factory.mktemp("strict") / "strict.edgetl"
    rule = UnknownRule(
        min_confidence=1.0, max_appearance_distance=None, max_feature_distance=None, images=1,
        part="test", answered=0.0, top1=None,
    )  # fmt: skip
    # Warm, so that no probability is 1 after rounding.
    artifacts = tuple(
        structs.replace(a, unknown=rule, temperature=8.0) for a in opened.manifest.artifacts
    )
    write_bundle(out, structs.replace(opened.manifest, artifacts=artifacts), opened.contents())
    return out


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier(tiny_bundle, threads=1)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def kept_in(folder: Path) -> Contents:
    contents = read_contents(folder)
    assert contents.problems == ()
    return contents


def answers_in(folder: Path) -> int:
    days, problems = read_days(folder)
    assert problems == []
    return sum(entry.answers.images for day in days for entry in day.entries)


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


# What is kept


def test_pictures_arrive_as_they_were_classified_each_with_its_answer(
    edgetl: Command, tiny_bundle: Path, pictures: Path, kept: Path
) -> None:
    source = pictures / "checks"
    answer = edgetl("run", tiny_bundle, source, "--collect", kept, *EVERYTHING, "--json")
    assert answer.code == 0
    counted = re.search(r"(\d+) unknown, 0 uncertain, (\d+) random", answer.err)
    assert counted
    assert f"kept in {kept}: {counted[0]}" in answer.err
    assert sum(map(int, counted.groups())) == 20
    found = kept_in(kept).pictures
    originals = {path.read_bytes() for path in source.iterdir()}
    assert {each.path.read_bytes() for each in found} == originals
    assert {each.path.suffix for each in found} == {".png"}
    assert not any("checks" in each.path.name or each.path.stem == "00" for each in found)
    printed = {p["source"]: p for p in json.loads(answer.out)}
    for each in found:
        record = each.record
        assert record.bundle == Bundle(tiny_bundle).digest
        expected = printed[record.prediction.source]
        assert record.prediction.probability == expected["probability"]
        assert record.prediction.engine == expected["engine"]
    assert answers_in(kept) == 20


def test_what_is_printed_does_not_change(
    edgetl: Command, strict_bundle: Path, pictures: Path, kept: Path
) -> None:
    options = (strict_bundle, pictures / "slope", "--format", "csv")
    plain, collecting = edgetl("run", *options), edgetl("run", *options, "--collect", kept)

    def without_times(text: str) -> list[list[str]]:
        rows = [line.split(",") for line in text.splitlines()]
        return [[*row[:1], *row[2:5], *row[8:]] for row in rows]

    assert without_times(plain.out) == without_times(collecting.out)
    assert "unknown," not in collecting.out.splitlines()[1]
    assert {each.record.reason for each in kept_in(kept).pictures} == {"unknown"}
    shown = edgetl("run", *options, "--unknown", "--collect", kept)
    assert all(",unknown," in line for line in shown.out.splitlines()[1:])
    assert len(kept_in(kept).pictures) == 20  # the same ones
    assert answers_in(kept) == 40


def test_what_the_days_count_agrees_with_the_answers(
    edgetl: Command, strict_bundle: Path, pictures: Path, kept: Path
) -> None:
    answer = edgetl("run", strict_bundle, pictures, "--collect", kept, "--json")
    labels = [p["top"][0]["label"] for p in json.loads(answer.out)]
    ((entry,),) = [day.entries for day in read_days(kept)[0]]
    bundle = Bundle(strict_bundle)
    assert entry.bundle == bundle.digest
    assert dict(zip(bundle.manifest.labels, entry.answers.classes, strict=True)) == {
        label: labels.count(label) for label in bundle.manifest.labels
    }
    assert entry.answers.unknown == entry.answers.images == 60


def test_a_profile_is_what_run_counts_on_the_same_pictures(
    edgetl: Command, tiny_bundle: Path, tiny_run: Path, tmp_path: Path
) -> None:
    split = json.loads((tiny_run / "splits.json").read_text())
    held_out = [Path(split["root"]) / name for names in split["test"].values() for name in names]
    for artifact in Bundle(tiny_bundle).manifest.artifacts:
        kept = tmp_path / artifact.name
        edgetl("run", tiny_bundle, *held_out, "--collect", kept, "--artifact", artifact.name)
        ((entry,),) = [day.entries for day in read_days(kept)[0]]
        assert entry.artifact == artifact.name
        assert artifact.profile is not None
        # The rule's limit is the distance of one of these pictures: rounding decides about it.
        assert structs.replace(entry.answers, unknown=artifact.profile.unknown) == artifact.profile
        drift = edgetl("drift", tiny_bundle, kept, "--json")
        assert json.loads(drift.out)[0]["total"]["scores"][0]["psi"] == 0


def test_of_a_live_source_few_pictures_of_one_scene_are_kept(
    edgetl: Command, tiny_bundle: Path, camera: HttpCamera, jpegs: list[bytes], kept: Path
) -> None:
    camera.pages["/live"] = stream(jpegs * 20)
    live = ("run", tiny_bundle, camera.url("/live"), "--max-frames", 12, "--collect")
    assert edgetl(*live, kept, *EVERYTHING).code == 0
    (picture,) = kept_in(kept).pictures
    assert picture.path.suffix == ".jpg"
    assert picture.path.read_bytes() in jpegs
    assert answers_in(kept) == 12
    often = kept.with_name("often")
    assert edgetl(*live, often, *EVERYTHING, "--collect-every", 0).code == 0
    assert len(kept_in(often).pictures) > 1


def test_a_videos_frames_are_kept_as_jpegs_by_the_videos_own_time(
    edgetl: Command, tiny_bundle: Path, kept: Path, tmp_path: Path
) -> None:
    cv2 = pytest.importorskip("cv2")
    import numpy as np

    clip = tmp_path / "clip.avi"
    video = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for seed in range(30):
        video.write(np.asarray(draw("checks", seed, 64, 48))[..., ::-1].copy())
    video.release()
    edgetl("run", tiny_bundle, clip, "--collect", kept, *EVERYTHING, "--collect-every", 1)
    times: dict[str, list[float]] = {}
    for _, record in kept_in(kept).pictures:
        at_s = float(record.prediction.source.removeprefix(f"{clip}#t="))
        times.setdefault(record.reason, []).append(at_s)
    assert min(map(min, times.values())) == 0
    assert max(map(len, times.values())) >= 2
    for each in times.values():
        assert all(late - early >= 1 for early, late in pairwise(each))
    assert {each.path.read_bytes()[:3] for each in kept_in(kept).pictures} == {b"\xff\xd8\xff"}


def test_the_random_share_goes_on_from_process_to_process(
    classifier: Classifier, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_today", lambda: f"{NOON:%Y-%m-%d}")
    for number in range(8):  # each in a process of its own, as a cron job does it
        collector = Collector(kept, classifier, ALL._replace(share=0.5), 10**6, print)
        collector.add(bytes([number]), answer(classifier.labels[0]), time=NOON)
        collector.close()
    # Seeded alike, all of them would be drawn, or none.
    drawn = [each.path.read_bytes()[0] for each in kept_in(kept).pictures]
    assert drawn == [n for n in range(8) if random.Random(f"2026-07-01 {n}").random() < 0.5]
    assert len(drawn) not in (0, 8)
    assert answers_in(kept) == 8


def test_options_without_a_folder_are_wrong_usage(edgetl: Command, tiny_bundle: Path) -> None:
    answer = edgetl("run", tiny_bundle, "a.png", "--max-mb", 3)
    assert answer.code == 2
    assert "--max-mb belongs to --collect." in answer.err


@pytest.mark.parametrize("number", ["inf", "nan", "1e400", "-1"])
@pytest.mark.parametrize("option", ["--max-mb", "--collect-share", "--collect-every"])
def test_numbers_are_finite(edgetl: Command, tiny_bundle: Path, option: str, number: str) -> None:
    answer = edgetl("run", tiny_bundle, "a.png", "--collect", "kept", f"{option}={number}")
    assert (answer.code, answer.out) == (2, "")
    assert f"Invalid value for '{option}'" in answer.err


def test_a_folder_may_be_of_any_size(
    edgetl: Command, tiny_bundle: Path, pictures: Path, kept: Path
) -> None:
    assert edgetl("run", tiny_bundle, pictures, "--collect", kept, "--max-mb=1e308").code == 0


def test_a_file_in_place_of_the_folder_is_an_error(
    edgetl: Command, tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    answer = edgetl("run", tiny_bundle, pictures, "--collect", tmp_path / "file")
    assert (answer.code, answer.out) == (1, "")
    assert f"Error: '{tmp_path / 'file'}' is not a folder." in answer.err


# Trouble


def test_a_folder_in_use_is_refused_at_once(
    edgetl: Command, tiny_bundle: Path, pictures: Path, classifier: Classifier, kept: Path
) -> None:
    mine = Collector(kept, classifier, ALL, 10**6, print)
    answer = edgetl("run", tiny_bundle, pictures, "--collect", kept)
    assert (answer.code, answer.out) == (1, "")
    assert f"Error: Another edgetl collects pictures into '{kept}'." in answer.err
    mine.close()
    assert edgetl("run", tiny_bundle, pictures / "slope", "--collect", kept).code == 0


def test_a_disk_that_takes_nothing_does_not_end_the_run(
    tiny_bundle: Path, pictures: Path, kept: Path
) -> None:
    # No file may be larger than 1 kB: writing more is an error, as on a full disk.
    command = [
        "bash", "-c", 'ulimit -f 1; exec "$@"', "bash", sys.executable, "-m", "edgetl", "run",
        tiny_bundle, pictures, "--collect", kept, "--engine", "litert", *EVERYTHING,
    ]  # fmt: skip
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 60
    warnings = [line for line in ended.stderr.splitlines() if line.startswith("Warning:")]
    assert len(warnings) == 1
    assert f"no pictures are kept in '{kept}' for now: " in warnings[0]
    assert "File too large" in warnings[0]
    assert "could not be kept: 60" in ended.stderr
    assert [path for path in kept.iterdir() if path.suffix in (".png", ".json")] == []


def test_a_read_only_disk_is_reported_once_and_tried_again(
    classifier: Classifier, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.2)
    disk = mounted(tmp_path / "disk", "-o", "size=1m")
    try:
        remount(disk, "ro")
        said: list[str] = []
        collector = Collector(disk / "kept", classifier, ALL, 10**6, said.append)
        picture = pictures / "slope" / "00.png"
        prediction = classifier(picture)
        collector.add(picture, prediction)
        assert "Read-only file system" in said[0]
        remount(disk, "rw")

        def kept() -> bool:
            collector.add(picture, prediction)
            return collector.kept["random"] == 1

        wait_for(kept)
        monkeypatch.setattr(store, "MIN_FREE_SHARE", 1.0)  # full, and again in the same hour
        other = pictures / "slope" / "01.png"
        before = collector.lost
        collector.add(other, classifier(other), wait=True)
        wait_for(lambda: collector.lost > before)
        monkeypatch.undo()
        collector.close()
        assert len(said) == 1
        assert len(kept_in(disk / "kept").pictures) == 1
        assert answers_in(disk / "kept") > 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def mounted(disk: Path, *options: str) -> Path:
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    return disk


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def test_a_folder_that_is_deleted_meanwhile_is_made_anew(
    classifier: Classifier, kept: Path, pictures: Path
) -> None:
    said: list[str] = []
    collector = Collector(kept, classifier, ALL, 10**6, said.append)
    first, second = sorted((pictures / "checks").iterdir())[:2]
    collector.add(first, classifier(first))
    wait_for(lambda: collector.kept["random"] == 1)
    shutil.rmtree(kept)
    collector.add(second, classifier(second))
    collector.close()
    assert [each.path.read_bytes() for each in kept_in(kept).pictures] == [second.read_bytes()]
    assert said == []


def test_what_comes_faster_than_the_disk_takes_it_is_lost_and_counted_unless_it_can_wait(
    classifier: Classifier, kept: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [draw("checks", seed, 40, 40) for seed in range(120)]
    prediction = classifier(frames[0])
    disk = Disk(monkeypatch)
    collector = Collector(kept, classifier, ALL, 10**7, print)
    collector.add(frames[0], prediction)
    disk.busy.wait()
    for frame in frames[1:60]:
        collector.add(frame, prediction, scene=scene_now("camera:0"))
    assert collector.lost == 59 - waiting.MAX_PICTURES
    disk.takes.set()
    for frame in frames[60:]:
        collector.add(frame, prediction, wait=True)
    collector.close()
    assert collector.lost == 59 - waiting.MAX_PICTURES
    assert collector.kept["random"] == 61 + waiting.MAX_PICTURES
    assert answers_in(kept) == 120


class Disk:
    """A disk that takes no picture until it may.

    Attributes:
        takes: is set once it takes pictures.
        busy: is set once it has been given one.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.takes, self.busy = threading.Event(), threading.Event()
        add = store.PictureStore.add

        def slow(self_: store.PictureStore, content: bytes, record: Record) -> store.Outcome:
            self.busy.set()
            assert self.takes.wait(60)
            return add(self_, content, record)

        monkeypatch.setattr(store.PictureStore, "add", slow)


def test_nobody_waits_for_a_disk_that_hangs(
    classifier: Classifier, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MAX_WAIT_S", 0.05)
    monkeypatch.setattr(waiting, "MAX_PICTURES", 1)
    frames = [draw("checks", seed) for seed in range(5)]
    prediction = classifier(frames[0])
    disk = Disk(monkeypatch)
    collector = Collector(kept, classifier, ALL, 10**6, print)
    collector.add(frames[0], prediction)
    disk.busy.wait()
    for frame in frames[1:3]:
        collector.add(frame, prediction, wait=True)
    assert collector.lost == 1
    monkeypatch.setattr(waiting, "MAX_WAIT_S", 600)  # it was waited for once
    collector.add(frames[3], prediction, wait=True)
    assert collector.lost == 2
    disk.takes.set()
    wait_for(lambda: collector.kept["random"] == 2)
    collector.add(frames[4], prediction, wait=True)
    collector.close()
    assert (collector.kept["random"], collector.lost) == (3, 2)


def test_at_the_end_the_counts_are_written_first_and_a_slow_disk_is_waited_for(
    classifier: Classifier, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CLOSE_S", 1.0)
    add, counted = store.PictureStore.add, []

    def slow(*arguments: Any) -> store.Outcome:
        wait_for(lambda: collector._writer._waiting.closed)
        counted.append((kept / "days").exists())
        time.sleep(0.25)
        return add(*arguments)

    monkeypatch.setattr(store.PictureStore, "add", slow)
    collector = Collector(kept, classifier, ALL, 10**6, print)
    for number in range(6):
        collector.add(bytes([number]), answer(classifier.labels[0]), wait=True)
    collector.close()
    assert (collector.kept["random"], collector.lost) == (6, 0)
    assert counted == [False, *[True] * 5]
    assert answers_in(kept) == 6


def test_at_the_end_what_a_hanging_disk_does_not_take_is_lost_and_counted(
    classifier: Classifier, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CLOSE_S", 0.1)
    disk, said = Disk(monkeypatch), list[str]()
    collector = Collector(kept, classifier, ALL, 10**6, said.append)
    for number in range(5):
        collector.add(bytes([number]), answer(classifier.labels[0]))
    disk.busy.wait()
    collector.close()
    assert (collector.kept["random"], collector.lost) == (0, 5)
    assert said == [f"'{kept}' takes too long to write to; what was left is lost."]
    disk.takes.set()


def test_the_labels_are_written_once_the_folder_can_be(
    classifier: Classifier, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.0)
    kept.mkdir()
    (kept / "bundles").touch()  # in the place of the folder for the labels
    said: list[str] = []
    collector = Collector(kept, classifier, ALL, 10**6, said.append)
    assert "bundles' cannot be written" in said[0]
    (kept / "bundles").unlink()
    collector.add(b"picture", answer(classifier.labels[0]))
    collector.close()
    assert known_labels(kept, ()) == classifier.labels


def test_a_bundles_name_need_not_be_text(tiny_bundle: Path, kept: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"mod\xe8le.edgetl")
    shutil.copy(tiny_bundle, odd)
    Collector(kept, Classifier(odd, threads=1), ALL, 10**6, print).close()
    assert known_labels(kept, ()) == Bundle(tiny_bundle).manifest.labels


def test_a_day_that_cannot_be_read_does_not_end_the_run(
    classifier: Classifier, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_today", lambda: f"{NOON:%Y-%m-%d}")
    (kept / "days" / "2026-07-01.json").mkdir(parents=True)
    said: list[str] = []
    collector = Collector(kept, classifier, ALL, 10**6, said.append)
    assert collector.today() == ()
    collector.add(b"picture", answer(classifier.labels[0]), time=NOON)
    collector.close()
    assert "2026-07-01.json' cannot be read: Is a directory" in said[0]
    assert collector.kept["random"] == 1


def test_a_file_that_is_gone_or_too_large_is_not_kept(
    classifier: Classifier, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PICTURE_BYTES", 1000)
    large = tmp_path / "large.png"
    draw("checks", 1).save(large)
    prediction = classifier(large)
    collector = Collector(kept, classifier, ALL, 10**6, print)
    collector.add(large, prediction)
    collector.add(tmp_path / "gone.png", prediction)
    collector.close()
    assert (collector.kept["random"], collector.lost) == (0, 2)


def test_a_source_of_any_text_is_stored_cut_and_readable(
    classifier: Classifier, kept: Path
) -> None:
    picture = encoded(draw("checks", 1), "PNG")
    prediction = classifier(picture, source="../\udc80\x00</script>" + "x" * 5000, explain=False)
    collector = Collector(kept, classifier, ALL, 10**6, print)
    collector.add(picture, prediction)
    collector.close()
    (found,) = kept_in(kept).pictures
    assert found.record.prediction.source == ("../?\x00</script>" + "x" * 5000)[:200]
    assert found.path.parent == kept


@pytest.fixture
def killed(tiny_bundle: Path, pictures: Path, kept: Path) -> Iterator[None]:
    """A run that watches a folder, and was killed while pictures arrived."""
    inbox = kept.with_name("inbox")
    inbox.mkdir()
    command = [
        sys.executable, "-m", "edgetl", "run", tiny_bundle, "--watch", inbox, "--existing",
        "--collect", kept, "--engine", "litert", *EVERYTHING,
    ]  # fmt: skip
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for number, path in enumerate(sorted(pictures.rglob("*.png"))):
            shutil.copy(path, inbox / f"{number}.png")
        process.stdout.readline()
        wait_for(lambda: kept.is_dir() and any(kept.glob("*.json")))
        process.kill()
    yield


def test_after_a_kill_the_folder_is_whole_and_collecting_goes_on(
    edgetl: Command, killed: None, tiny_bundle: Path, pictures: Path, kept: Path
) -> None:
    before = kept_in(kept).pictures
    assert 0 < len(before) <= 60
    answer = edgetl("run", tiny_bundle, pictures, "--collect", kept, *EVERYTHING)
    assert answer.code == 0
    after = {each.path.read_bytes() for each in kept_in(kept).pictures}
    assert after == {path.read_bytes() for path in pictures.rglob("*.png")}
    assert len(kept_in(kept).pictures) == 60


def test_ctrl_c_ends_a_live_run_with_what_was_kept_and_counted(
    tiny_bundle: Path, camera: HttpCamera, jpegs: list[bytes], kept: Path
) -> None:
    camera.pages["/live"] = stream(jpegs * 200)
    command = [
        sys.executable, "-m", "edgetl", "run", tiny_bundle, camera.url("/live"), "--collect", kept,
        *EVERYTHING,
    ]  # fmt: skip
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert f"kept in {kept}: 0 unknown, 0 uncertain, 1 random" in err
    # The signal may come between the last line and its count.
    assert 0 <= 5 + len(out.splitlines()) - answers_in(kept) <= 1


def test_two_collectors_of_one_process_exclude_each_other(
    classifier: Classifier, kept: Path
) -> None:
    first = Collector(kept, classifier, ALL, 10**6, print)
    with pytest.raises(FolderInUseError):
        Collector(kept, classifier, ALL, 10**6, print)
    first.close()
    Collector(kept, classifier, ALL, 10**6, print).close()
