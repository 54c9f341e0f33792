"""`edgetl run` with cameras, streams, videos and watched folders."""

import csv
import http.server
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import pytest
from msgspec import structs

from edgetl.bundle.archive import Bundle, write_bundle
from edgetl.bundle.manifest import UnknownRule
from edgetl.bundle.reports import LabelScore, Prediction
from edgetl.capture import watch
from edgetl.capture.watch import WatchedFolder
from edgetl.cli.run_output import Csv, line
from tests.capture.http_camera import HttpCamera, picture, stream
from tests.conftest import Command
from tests.making import draw, encoded

HEADER = (
    "source,time,label,probability,unknown,decode_ms,preprocess_ms,inference_ms,"
    "top1,top1_probability,top2,top2_probability"
)
TWO = ("--top", 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, the second one broken."""
    root = tmp_path / "photos"
    root.mkdir()
    for name in ("a", "c"):
        draw("slope", 1).save(root / f"{name}.png")
    (root / "b.png").write_bytes(b"no picture")
    return root


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("Error: ", "Warning: "))]


def broken(folder: Path) -> str:
    return f"Error: '{folder / 'b.png'}' cannot be read as a picture: no known picture format."


# Output


def test_lines_of_json_are_predictions_with_a_time(
    edgetl: Command, tiny_bundle: Path, folder: Path
) -> None:
    before = datetime.now(timezone.utc)
    answer = edgetl("run", tiny_bundle, folder, "--format", "jsonl", *TWO)
    first, second = map(json.loads, answer.out.splitlines())
    document = json.loads(edgetl("run", tiny_bundle, folder / "a.png", "--json", *TWO).out)[0]
    assert [record["source"] for record in (first, second)] == [
        str(folder / "a.png"), str(folder / "c.png"),
    ]  # fmt: skip
    assert first.keys() == document.keys() | {"time"}
    assert first["top"] == document["top"]
    assert before <= datetime.fromisoformat(second["time"]) <= datetime.now(timezone.utc)
    assert errors(answer.err) == [broken(folder), "Error: 1 of 3 pictures could not be read."]
    assert answer.code == 1


def test_csv_has_a_header_and_a_row_for_each_picture(
    edgetl: Command, tiny_bundle: Path, folder: Path
) -> None:
    odd = folder / 'an "odd", name.png'
    (folder / "c.png").rename(odd)
    answer = edgetl("run", tiny_bundle, folder / "a.png", odd, "--format", "csv", *TWO)
    assert answer.code == 0
    assert answer.out.splitlines()[0] == HEADER
    first, second = csv.DictReader(io.StringIO(answer.out))
    assert (first["source"], second["source"]) == (str(folder / "a.png"), str(odd))
    (prediction,) = json.loads(edgetl("run", tiny_bundle, folder / "a.png", "--json", *TWO).out)
    assert first["label"] == first["top1"] == prediction["label"]
    assert first["top2"] == prediction["top"][1]["label"]
    assert float(first["probability"]) == pytest.approx(prediction["probability"], abs=1e-6)
    assert float(first["inference_ms"]) > 0
    assert first["unknown"] == ""
    assert datetime.fromisoformat(first["time"]).utcoffset() is not None


def test_csv_without_a_prediction_still_has_its_header(
    edgetl: Command, tiny_bundle: Path, folder: Path
) -> None:
    answer = edgetl("run", tiny_bundle, folder / "b.png", "--format", "csv", *TWO)
    assert (answer.code, answer.out) == (1, HEADER + "\n")


def prediction(**more: object) -> Prediction:
    top = (
        LabelScore(label="cat", probability=0.71), LabelScore(label="dog", probability=0.201),
    )  # fmt: skip
    return Prediction(
        **{
            "source": "photo.jpg", "label": "cat", "probability": 0.71, "top": top,
            "decode_ms": 1.0, "preprocess_ms": 0.5, "inference_ms": 1.6,
            "artifact": "onnx-int8", "engine": "onnxruntime 1", "provider": "CPU", **more,
        }  # type: ignore[arg-type]
    )  # fmt: skip


def test_an_unknown_picture_is_said_to_be_most_like_the_likeliest_classes() -> None:
    assert line(prediction()) == "photo.jpg: cat 71.0% (dog 20.1%)  3.1 ms"
    assert line(prediction(unknown=False)) == line(prediction())
    assert line(prediction(unknown=True, label="unknown")) == (
        "photo.jpg: unknown (most like cat 71.0%, dog 20.1%)  3.1 ms"
    )


@pytest.mark.parametrize(
    ("unknown", "cells"), [(None, "cat,0.710000,,"), (True, "unknown,0.710000,true,")]
)
def test_csv_says_what_is_unknown(
    unknown: bool | None, cells: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Csv(2)
    label = "unknown" if unknown else "cat"
    table.add(prediction(unknown=unknown, label=label), datetime(2026, 1, 2, tzinfo=timezone.utc))
    assert capsys.readouterr().out.splitlines() == [
        HEADER,
        f"photo.jpg,2026-01-02T00:00:00.000+00:00,{cells}1.000,0.500,1.600,"
        "cat,0.710000,dog,0.201000",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes on Linux")
@pytest.mark.parametrize("format_", ["text", "jsonl", "csv"])
def test_a_file_name_that_is_not_utf8_is_printed_with_a_replacement_character(
    tiny_bundle: Path, tmp_path: Path, format_: str
) -> None:
    draw("checks", 1).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    words = [sys.executable, "-m", "edgetl", "run", tiny_bundle, tmp_path, "--format", format_]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    result = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    assert "caf\ufffd.png" in result.stdout.decode()


# Broken pictures


def test_every_broken_picture_is_named_and_the_others_are_answered(
    edgetl: Command, tiny_bundle: Path, folder: Path
) -> None:
    (folder / "d.png").touch()
    answer = edgetl("run", tiny_bundle, folder)
    assert [text.split(": ")[0] for text in answer.out.splitlines()] == [
        str(folder / "a.png"), str(folder / "c.png"),
    ]  # fmt: skip
    assert errors(answer.err) == [
        broken(folder),
        f"Error: '{folder / 'd.png'}' cannot be read as a picture: the file is empty.",
        "Error: 2 of 4 pictures could not be read.",
    ]
    assert answer.err.count("Hint: ") == 1
    assert answer.code == 1


def test_a_broken_video_does_not_keep_the_pictures_after_it(
    edgetl: Command, tiny_bundle: Path, folder: Path
) -> None:
    pytest.importorskip("cv2")
    clip = folder / "clip.avi"
    clip.write_bytes(b"no video")
    answer = edgetl("run", tiny_bundle, clip, folder / "a.png", "--json")
    assert [p["source"] for p in json.loads(answer.out)] == [str(folder / "a.png")]
    assert errors(answer.err) == [
        f"Error: '{clip}' cannot be read as a video.",
        "Error: 1 of 2 pictures could not be read.",
    ]
    assert answer.code == 1


def test_a_broken_picture_of_a_stream_on_standard_input_is_named(
    edgetl: Command, tiny_bundle: Path, jpegs: list[bytes]
) -> None:
    content = jpegs[0] + jpegs[1][:-300] + jpegs[2]
    answer = edgetl("run", tiny_bundle, "-", "--format", "jsonl", stdin=content)
    assert [json.loads(text)["source"] for text in answer.out.splitlines()] == ["-", "-"]
    first, second = errors(answer.err)
    assert first.startswith("Error: standard input: the picture cannot be read as a picture: ")
    assert second == "Error: 1 of 3 pictures could not be read."
    assert answer.code == 1


def test_broken_frames_of_a_camera_are_counted_and_the_first_one_is_named(
    edgetl: Command, tiny_bundle: Path, camera: HttpCamera, jpegs: list[bytes]
) -> None:
    without_frame = jpegs[0][:20] + b"\xff\xd9"
    camera.pages["/live"] = stream(chain.from_iterable(repeat((without_frame, jpegs[1]))))
    answer = edgetl("run", tiny_bundle, camera.url("/live"), "--max-frames", 5)
    assert len(answer.out.splitlines()) == 5
    named, total = errors(answer.err)
    assert named.startswith(f"Error: {camera.url('/live')}: the picture cannot be read as a ")
    number = int(total.split()[1])
    assert number > 1
    assert total == f"Error: {number} of {number + 5} pictures could not be read."
    assert f"could not be read: {number}" in answer.err
    assert answer.code == 1


# Sources


def test_frames_of_a_network_camera_are_answered_until_there_are_enough(
    edgetl: Command, tiny_bundle: Path, camera: HttpCamera, jpegs: list[bytes], pictures: Path
) -> None:
    camera.pages["/live"] = stream(repeat(jpegs[1]))
    url = camera.url("/live")
    answer = edgetl("run", tiny_bundle, url, "--max-frames", 7, "--format", "jsonl")
    records = [json.loads(text) for text in answer.out.splitlines()]
    (direct,) = json.loads(edgetl("run", tiny_bundle, "-", "--json", stdin=jpegs[1]).out)
    assert [record["source"] for record in records] == [url] * 7
    assert all(record["top"] == direct["top"] for record in records)
    assert sorted(r["time"] for r in records) == [r["time"] for r in records]
    assert answer.err.splitlines()[-1].startswith("answers: 7, frames dropped: ")
    assert answer.code == 0


def test_a_camera_that_vanishes_and_returns_goes_on(
    edgetl: Command, tiny_bundle: Path, camera: HttpCamera, jpegs: list[bytes]
) -> None:
    """It sends ten frames, is gone at the first attempt, and is back."""

    def live(request: object) -> None:
        attempt = len(camera.requests)
        if attempt == 2:
            request.send_error(503, "Restarting")  # type: ignore[attr-defined]
        else:
            stream(jpegs[:5] * 2 if attempt == 1 else repeat(jpegs[0]))(request)  # type: ignore

    camera.pages["/live"] = live
    url = camera.url("/live")
    answer = edgetl("run", tiny_bundle, url, "--max-frames", 15)
    assert len(answer.out.splitlines()) == 15
    assert errors(answer.err) == [
        f"Warning: '{url}' ended. Trying to open it again.",
        f"Warning: '{url}' is back.",
    ]
    assert len(camera.requests) == 3
    assert answer.code == 0


def test_a_camera_that_is_not_there_at_the_start_is_an_error(
    edgetl: Command, tiny_bundle: Path
) -> None:
    pytest.importorskip("cv2")
    answer = edgetl("run", tiny_bundle, "camera:999")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("Error: 'camera:999' cannot be opened")


def test_a_snapshot_is_answered_once_or_again_and_again(
    edgetl: Command, tiny_bundle: Path, camera: HttpCamera, jpegs: list[bytes]
) -> None:
    camera.pages["/now.jpg"] = picture(jpegs[0])
    url = camera.url("/now.jpg")
    once = edgetl("run", tiny_bundle, url, "--json")
    assert [p["source"] for p in json.loads(once.out)] == [url]
    assert len(camera.requests) == 1
    often = edgetl("run", tiny_bundle, url, "--every", 0.1, "--max-frames", 4)
    assert len(often.out.splitlines()) == 4
    assert len(camera.requests) >= 5
    assert (once.code, often.code) == (0, 0)


def test_a_source_with_a_password_may_come_from_the_environment(
    edgetl: Command,
    tiny_bundle: Path,
    folder: Path,
    camera: HttpCamera,
    jpegs: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    camera.pages["/now.jpg"] = picture(jpegs[0])
    url = camera.url("/now.jpg")
    monkeypatch.setenv("EDGETL_SOURCE", url.replace("://", "://admin:s3cret@"))
    answer = edgetl("run", tiny_bundle, "--json")
    assert [p["source"] for p in json.loads(answer.out)] == [url]
    named = edgetl("run", tiny_bundle, folder / "a.png", "--json")
    assert [p["source"] for p in json.loads(named.out)] == [str(folder / "a.png")]


def test_every_frame_of_a_video_is_answered(
    edgetl: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    cv2 = pytest.importorskip("cv2")
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for seed in range(12):
        frame = cv2.imdecode(
            np_bytes(encoded(draw("checks", seed, 64, 48), "PNG")), cv2.IMREAD_COLOR
        )
        writer.write(frame)
    writer.release()
    answer = edgetl("run", tiny_bundle, clip, "--json")
    names = [p["source"] for p in json.loads(answer.out)]
    assert names == [f"{clip}#t={number / 10:.2f}" for number in range(12)]
    assert (answer.code, answer.err) == (0, "")
    sparse = edgetl("run", tiny_bundle, clip, "--every", 0.5, "--format", "jsonl")
    assert [json.loads(text)["source"].partition("#")[2] for text in sparse.out.splitlines()] == [
        "t=0.00", "t=0.50", "t=1.00",
    ]  # fmt: skip


def np_bytes(content: bytes) -> object:
    import numpy as np

    return np.frombuffer(content, np.uint8)


def test_max_frames_ends_files_too(edgetl: Command, tiny_bundle: Path, pictures: Path) -> None:
    answer = edgetl("run", tiny_bundle, pictures, "--max-frames", 3, "--json")
    assert len(json.loads(answer.out)) == 3
    assert answer.code == 0


# Usage


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Missing argument 'SOURCE...', or --watch DIR."),
        (("a.png", "--existing"), "--existing belongs to --watch."),
        (("a.png", "--json", "--format", "csv"), "--json and --format exclude each other."),
        (("a.png", "--every", "1"), "--every and --max-fps are for cameras, streams and videos."),
        (("--watch", ".", "--max-fps", "1"),
         "--every and --max-fps are for cameras, streams and videos."),
        (("--watch", ".", "--json"), "--json prints one document at the end, and this source "
         "has none; use --format jsonl."),
        (("--watch", ".", "--explain", "heat"),
         "--explain draws a file for each picture, and this source has no end."),
        (("LIVE", "--watch", "."), "--watch and cameras or streams exclude each other."),
        (("LIVE", "--json"), "--json prints one document at the end, and this source has none; "
         "use --format jsonl."),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_the_source_are_wrong_usage(
    edgetl: Command,
    tiny_bundle: Path,
    folder: Path,
    camera: HttpCamera,
    jpegs: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    camera.pages["/live"] = stream(jpegs)
    words = [camera.url("/live") if word == "LIVE" else word for word in options]
    answer = edgetl("run", tiny_bundle, *words)
    assert (answer.code, answer.out) == (2, "")
    assert message in " ".join(answer.err.split())


def test_a_watched_folder_has_to_exist(edgetl: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    answer = edgetl("run", tiny_bundle, "--watch", tmp_path / "none")
    assert (answer.code, answer.out) == (1, "")
    assert errors(answer.err) == [f"Error: '{tmp_path / 'none'}' is not a folder."]


def with_rule(bundle: Path, out: Path, rule: UnknownRule | None) -> Path:
    """A copy of a bundle whose artifacts have this rule for unknown pictures."""
    opened = Bundle(bundle)
    artifacts = tuple(structs.replace(a, unknown=rule) for a in opened.manifest.artifacts)
    write_bundle(out, structs.replace(opened.manifest, artifacts=artifacts), opened.contents())
    return out


def test_with_unknown_a_picture_unlike_the_classes_is_answered_unknown(
    edgetl: Command, tiny_bundle: Path, folder: Path, tmp_path: Path, jpegs: list[bytes]
) -> None:
    never_sure = UnknownRule(
        min_confidence=1.0,
        max_appearance_distance=None,
        max_feature_distance=None,
        images=1,
        part="test",
        answered=0.0,
        top1=None,
    )
    strict = with_rule(tiny_bundle, tmp_path / "strict.edgetl", never_sure)
    words = (folder / "a.png", *TWO)
    known = edgetl("run", strict, *words)
    unknown = edgetl("run", strict, *words, "--unknown")
    assert (known.code, unknown.code) == (0, 0)
    assert ": unknown (most like " not in known.out
    label = known.out.split(": ")[1].split()[0]
    assert f"{folder / 'a.png'}: unknown (most like {label} " in unknown.out
    streamed = edgetl("run", strict, "-", "--unknown", "--format", "jsonl", stdin=jpegs[0])
    assert json.loads(streamed.out)["label"] == "unknown"


def test_unknown_needs_a_bundle_with_a_rule(
    edgetl: Command, tiny_bundle: Path, folder: Path, tmp_path: Path
) -> None:
    plain = with_rule(tiny_bundle, tmp_path / "plain.edgetl", None)
    answer = edgetl("run", plain, folder / "a.png", "--unknown")
    assert (answer.code, answer.out) == (1, "")
    assert "has no rule for unknown pictures" in answer.err


# In processes of their own


class Running:
    """A running `edgetl run`."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgetl", "run", *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def line(self, limit_s: float = 60) -> str:
        """The next line of standard output, once it is there."""
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], limit_s)
        assert ready, "nothing was printed"
        return self.process.stdout.readline().decode()

    def end(self, number: signal.Signals, *, group: bool = False) -> tuple[int, list[str]]:
        """Send a signal, to the whole group as a terminal does; returns the code and stderr."""
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said.decode().splitlines()


@contextmanager
def running(*words: object) -> Iterator[Running]:
    run = Running(*words)
    with run.process:  # closes its pipes and waits
        try:
            yield run
        finally:
            run.process.kill()


def test_answers_come_while_a_stream_runs_on_standard_input(
    tiny_bundle: Path, jpegs: list[bytes]
) -> None:
    with running(tiny_bundle, "-", "--format", "jsonl") as run:
        assert run.process.stdin
        for jpeg in jpegs[:3]:
            run.process.stdin.write(jpeg)
            run.process.stdin.flush()
            assert json.loads(run.line())["source"] == "-"
        run.process.stdin.close()
        assert run.process.wait(60) == 0


@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)],
    ids=["Ctrl-C in a terminal", "SIGINT", "SIGTERM"],
)
def test_a_live_run_is_ended_by_a_signal_with_code_0_and_its_counts(
    tiny_bundle: Path, camera: HttpCamera, jpegs: list[bytes], number: signal.Signals, group: bool
) -> None:
    camera.pages["/live"] = stream(repeat(jpegs[0]))
    with running(tiny_bundle, camera.url("/live"), "--format", "csv") as run:
        assert run.line().startswith("source,time,")
        assert run.line().startswith(camera.url("/live"))
        code, said = run.end(number, group=group)
    assert code == 0
    assert len(said) == 1
    assert said[0].startswith("answers: ")
    assert "frames dropped: " in said[0]


def test_files_that_are_interrupted_end_with_130(tiny_bundle: Path, pictures: Path) -> None:
    files = [pictures / "checks" / "00.png"] * 5000
    with running(tiny_bundle, *files) as run:
        run.line()
        code, said = run.end(signal.SIGINT, group=True)
    assert (code, said[-1]) == (130, "Interrupted.")


def test_a_watched_folder_is_answered_as_pictures_arrive(tiny_bundle: Path, folder: Path) -> None:
    with running(tiny_bundle, folder / "a.png", "--watch", folder) as run:
        assert run.line().startswith(f"{folder / 'a.png'}: ")
        draw("checks", 3).save(folder / "new.png")
        assert run.line().startswith(f"{folder / 'new.png'}: ")
        code, said = run.end(signal.SIGTERM)
    assert (code, said) == (0, ["answers: 2"])


def test_a_watched_folder_with_existing_pictures_names_the_broken_one(
    edgetl: Command, tiny_bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(folder / "b.png", (100, 100))  # the oldest comes first
    monkeypatch.setattr(watch, "WatchedFolder", partial(WatchedFolder, give_up_s=0))
    answer = edgetl("run", tiny_bundle, "--watch", folder, "--existing", "--max-frames", 2)
    names = {text.split(": ")[0] for text in answer.out.splitlines()}
    assert names == {str(folder / "a.png"), str(folder / "c.png")}
    assert errors(answer.err) == [broken(folder), "Error: 1 of 3 pictures could not be read."]
    assert answer.code == 1


class Manager:
    """A service manager, which is told when a run is ready."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)

    def told(self) -> list[bytes]:
        """What it was told up to now."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(1000, socket.MSG_DONTWAIT))
        return messages


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manager:
    manager = Manager(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    return manager


READY = b"READY=1\nSTATUS=classifying pictures"


def test_the_service_manager_is_told_once_that_a_camera_gives_pictures(
    edgetl: Command, tiny_bundle: Path, camera: HttpCamera, jpegs: list[bytes], manager: Manager
) -> None:
    told: list[list[bytes]] = []

    def live(request: http.server.BaseHTTPRequestHandler) -> None:
        told.append(manager.told())  # before there is a picture
        stream(repeat(jpegs[0]))(request)

    camera.pages["/live"] = live
    assert edgetl("run", tiny_bundle, camera.url("/live"), "--max-frames", 3).code == 0
    assert told == [[]]
    assert manager.told() == [READY]


def test_the_service_manager_is_not_told_of_a_run_that_cannot_begin(
    edgetl: Command, tiny_bundle: Path, folder: Path, manager: Manager
) -> None:
    into_file = ("--watch", folder, "--collect", folder / "a.png")
    assert edgetl("run", tiny_bundle, *into_file).code == 1
    pytest.importorskip("cv2")
    assert edgetl("run", tiny_bundle, folder / "a.png", "camera:999").code == 1
    assert manager.told() == []


def test_the_service_manager_is_told_of_a_watched_folder_without_a_picture(
    tiny_bundle: Path, folder: Path, manager: Manager
) -> None:
    with running(tiny_bundle, "--watch", folder) as run:
        deadline = time.monotonic() + 60
        while not (told := manager.told()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert told == [READY]
        assert run.end(signal.SIGTERM) == (0, ["answers: 0"])
