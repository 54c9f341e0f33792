import pytest

from edgetl.bundle.reports import ParityReport
from edgetl.core.schema import to_json
from edgetl.remote.address import Address, RemoteError
from edgetl.remote.answers import MAX_ANSWER_BYTES, last_line, printable, read_answer

BOARD = Address("board", "board")
REPORT = ParityReport(
    artifact="tflite-int8",
    engine="litert",
    status="right",
    samples=8,
    same_label=8,
    max_difference=0.0,
)


def test_a_document_of_the_right_kind_is_read() -> None:
    assert read_answer(to_json([REPORT]).encode(), list[ParityReport], BOARD) == [REPORT]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Welcome!\n[]",
        b'[{"artifact": "x"}]',
        to_json([REPORT]).replace('"right"', '"fine"').encode(),
        to_json([REPORT]).replace('"samples"', '"examples"').encode(),
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * (MAX_ANSWER_BYTES + 1),
    ],
    ids=["empty", "noise", "incomplete", "unknown status", "unknown key", "bytes", "deep", "large"],
)
def test_anything_else_is_an_error_that_names_the_machine(text: bytes) -> None:
    with pytest.raises(RemoteError, match="'board' answered something unexpected"):
        read_answer(text, list[ParityReport], BOARD)


def test_strings_cannot_control_the_terminal() -> None:
    sly = to_json([REPORT]).replace("litert", "lite\\u001b[2Jrt")
    assert "\\u001b" in sly
    (report,) = read_answer(sly.encode(), list[ParityReport], BOARD)
    assert report.engine == "lite [2Jrt"
    assert printable("a\x1b]0;x\x07b\r\nc\u202e") == "a ]0;x b \nc "


def test_labels_of_all_scripts_stay_as_they_are() -> None:
    # A space that does not break, an ideographic space, joiners, an emoji made of several.
    labels = ["1\u00a0mm", "\u826f\u3000\u54c1", "\u0645\u200c\u062e", "\U0001f469\u200d\U0001f33e"]
    assert read_answer(to_json(labels).encode(), list[str], BOARD) == labels
    assert [printable(label) for label in labels] == labels
    assert printable("a\u2028b\u2029c\u2066d\u2069\x9b") == "a b c d  "


def test_the_last_line_is_the_last_that_says_something() -> None:
    assert last_line("one.\ntwo.\n \n") == "two"
    assert last_line("\n") == "it printed nothing"
