"""Bodies that are forms, however they arrive."""

import asyncio
from collections.abc import Sequence

import pytest

pytest.importorskip("starlette")

from starlette.requests import Request

from edgetl.runtime.sources import Source
from edgetl.serving.bodies import Memory, read_pictures
from edgetl.serving.limits import Limits
from edgetl.serving.refusals import OverloadedError, RefusedError
from tests.serving.running import BOUNDARY, FORM, form

NASTY = bytes(range(256)) + b"\r\n--a-boundar\r\n--\r\n\r\n" + b"\r\n" * 5
FILES = [("a.png", NASTY), ("ü b.png", b""), ("", b"x" * 3000)]


def read(
    chunks: Sequence[bytes], content_type: str = FORM, limits: Limits | None = None
) -> list[Source]:
    """Read a body that arrives in these chunks."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return messages.pop(0)

    headers = [(b"content-type", content_type.encode())]
    request = Request({"type": "http", "headers": headers}, receive)
    limits = limits or Limits()

    async def run() -> list[Source]:
        with Memory(limits.held_bytes).reservation() as take:
            return await read_pictures(request, limits, take)

    return asyncio.run(run())


@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
def test_a_form_is_the_same_however_it_is_cut_into_chunks(size: int) -> None:
    body = form(*FILES)
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    assert read(chunks) == [
        Source("a.png", NASTY),
        Source("ü b.png", b""),
        Source("-", b"x" * 3000),
    ]


def test_a_boundary_may_be_quoted() -> None:
    quoted = f'Multipart/Form-Data; boundary="{BOUNDARY}"'
    assert read([form(("a.png", b"abc"))], quoted) == [Source("a.png", b"abc")]


@pytest.mark.parametrize("cut", [0, 1, 30, 100, 150, 200])
def test_a_form_that_is_cut_short_is_refused(cut: int) -> None:
    body = form(("a.png", b"abc"), ("b.png", b"abc"))
    with pytest.raises(RefusedError) as caught:
        read([body[:cut]])
    assert caught.value.status == 400
    assert str(caught.value) == "The form cannot be read: it is cut short."


@pytest.mark.parametrize(
    "body",
    [
        b"no form",
        b"--other\r\n\r\n",
        f"--{BOUNDARY}x".encode(),
        f"--{BOUNDARY}\r\n: a\r\n\r\n".encode(),
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError, match=r"^The form cannot be read: ") as caught:
        read([body])
    assert caught.value.status == 400


def test_a_form_without_pictures_is_refused() -> None:
    # Older versions of python-multipart do not read an empty form at all.
    with pytest.raises(RefusedError, match=r"^The form (has no pictures|cannot be read)") as caught:
        read([f"--{BOUNDARY}--\r\n".encode()])
    assert caught.value.status == 400


def test_a_field_that_is_not_a_file_is_named() -> None:
    body = form(("a.png", b"abc")).replace(b'name="file"; filename="a.png"', b'name="top"')
    with pytest.raises(RefusedError, match=r"^The form's field 'top' is not a file\.$") as caught:
        read([body])
    assert caught.value.failure.hint == "options go into the address, e.g. ?top=3"


def test_a_boundary_that_is_too_long_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"^The form cannot be read: "):
        read([b"a"], f"multipart/form-data; boundary={'b' * 500}")


def test_memory_that_was_taken_is_given_back() -> None:
    memory = Memory(10)
    with memory.reservation() as first:
        first(6)
        with pytest.raises(OverloadedError), memory.reservation() as second:
            second(4)
            second(1)
        with memory.reservation() as third:
            third(4)
    with memory.reservation() as fourth:
        fourth(10)
