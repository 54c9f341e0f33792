"""What a page in one file needs: data that cannot leave their element, and hashes of scripts."""

import base64
import hashlib
import json

from edgetl.core.html import embedded_json, inline_hashes


def test_embedded_data_hold_nothing_that_ends_their_element() -> None:
    value = {"<": "</script><!--", "lines": "a\u2028b\u2029c", "&": ["&lt;", "é", 1.5, None]}
    text = embedded_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_inline_elements_are_named_by_their_hashes() -> None:
    page = "<style>a { }</style><script>1 < 2</script><script src='x'></script><script>\n</script>"
    expected = [
        f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"
        for content in (b"1 < 2", b"\n")
    ]
    assert inline_hashes(page, "script") == " ".join(expected)
    assert inline_hashes("", "style") == ""
