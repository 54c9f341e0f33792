import re
from pathlib import Path

import pytest

from edgetl.core.errors import EdgetlError
from edgetl.data.labels import read_labels


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", b"glass\npaper cup\ntin"),
        ("labels.txt", b"\xef\xbb\xbfglass\r\n paper cup \r\ntin\r\n"),
        ("labels.json", b'["glass", "paper cup", "tin"]'),
    ],
)
def test_labels_are_read_in_the_order_of_the_outputs(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_labels(tmp_path / name) == ("glass", "paper cup", "tin")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"", "lists fewer than 2 labels"),
        ("a.txt", b"glass\n", "lists fewer than 2 labels"),
        ("a.txt", b"glass\n\ntin\n", ": label 2 is empty"),
        ("a.txt", b"glass\ntin\nglass\n", ": label 3, 'glass', occurs more than once"),
        ("a.txt", b"gl\xe4ss\ntin\n", "is not UTF-8 text"),
        ("a.json", b'{"0": "glass"}', "Expected `array`, got `object`"),
        ("a.json", b"glass\ntin\n", "is not well formed"),
    ],
)
def test_a_list_that_cannot_be_matched_by_name_is_refused(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EdgetlError, match=re.escape(told)) as caught:
        read_labels(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_missing_list_says_so(tmp_path: Path) -> None:
    with pytest.raises(EdgetlError, match="cannot be read"):
        read_labels(tmp_path / "labels.txt")
