"""Progress: a bar on a terminal, plain lines elsewhere, nothing with --quiet."""

import os
import pty
import subprocess
import sys

import pytest

# Progress needs no library for terminals.
STAGES = """
import sys, time
sys.modules["rich"] = None
from edgetl.cli.progress import make_progress

progress = make_progress()
with progress.stage("looking", 3, "files") as shown:
    shown.advance(3)
with progress.stage("decoding", 4, "pictures") as shown:
    shown.advance()
    time.sleep(1.6)
    progress.say("a remark")
    time.sleep(0.6)
    shown.advance(3, "loss 0.31")
"""


def on_a_terminal(*command: object, **more: str) -> str:
    """What a command writes to a terminal, in order."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        list(map(str, command)),
        stdin=its,
        stdout=its,
        stderr=its,
        env={**os.environ, "TERM": "xterm", **more},
    ) as process:
        os.close(its)
        written = b""
        try:
            while chunk := os.read(ours, 4096):
                written += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0, written
    return written.decode().replace("\r\n", "\n")


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    written = on_a_terminal(sys.executable, "-c", STAGES)
    *drawn, last = written.rstrip("\n").split("\r\033[2K")
    assert "looking" not in written  # no bar for what takes less than a second
    assert drawn[1].startswith("[#####...............] decoding: 1/4 pictures, ")
    assert "/s, " in drawn[1]
    assert drawn[1].endswith(" s left")
    assert any(line.startswith("a remark\n") for line in drawn)
    assert last.startswith("[####################] decoding: 4/4 pictures, ")
    assert last.endswith(", loss 0.31")


def test_a_terminal_that_cannot_go_back_gets_plain_lines() -> None:
    written = on_a_terminal(sys.executable, "-c", STAGES, TERM="dumb")
    assert "\033" not in written
    first, remark, second = written.splitlines()
    assert first.startswith("looking: 3/3 files, ")
    assert remark == "a remark"
    assert second.startswith("decoding: 4/4 pictures, ")


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_quiet_leaves_results_and_drops_progress(edgetl, tiny_bundle, quiet: list[str]) -> None:
    answer = edgetl(*quiet, "verify", tiny_bundle)
    assert answer.code == 0
    assert "members match their sha256" in " ".join(answer.out.split())
    if quiet:
        assert answer.err == ""
    else:
        assert answer.err.startswith("verifying: ")


def test_many_pictures_show_how_far_they_are_unless_their_lines_do(
    edgetl, tiny_bundle, pictures
) -> None:
    answer = edgetl("run", tiny_bundle, pictures / "checks", "--json")
    assert answer.err.startswith("classifying: 20/20 pictures, ")
    assert edgetl("run", tiny_bundle, pictures / "checks" / "00.png", "--json").err == ""
    shown = on_a_terminal(sys.executable, "-m", "edgetl", "run", tiny_bundle, pictures / "checks")
    assert "classifying" not in shown
    assert len(shown.splitlines()) == 20
