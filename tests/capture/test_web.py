import base64
import http.server
from contextlib import closing
from itertools import chain, islice, repeat

import pytest

from edgetl.capture import web
from edgetl.capture.feeds import CaptureError, Pace
from edgetl.capture.web import Snapshots, WebStream, open_url
from edgetl.runtime.sources import Source
from tests.capture.http_camera import HttpCamera, Page, picture, stream

ONCE = Pace()


def refusal(url: str, pace: Pace = ONCE) -> CaptureError:
    with pytest.raises(CaptureError) as caught:
        open_url(url, pace)
    return caught.value


def redirect(to: str) -> Page:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", to)
        request.end_headers()

    return answer


def test_a_snapshot_is_one_picture(camera: HttpCamera, jpegs: list[bytes]) -> None:
    camera.pages["/now.jpg"] = picture(jpegs[0])
    url = camera.url("/now.jpg")
    assert open_url(url, ONCE) == [Source(url, jpegs[0])]
    assert camera.requests == ["/now.jpg"]


def test_with_a_pace_a_snapshot_is_fetched_again_for_every_frame(
    camera: HttpCamera, jpegs: list[bytes]
) -> None:
    left = iter(jpegs)
    camera.pages["/now.jpg"] = lambda request: picture(next(left))(request)
    (source,) = open_url(camera.url("/now.jpg"), Pace(every_s=5))
    assert isinstance(source, Snapshots)
    assert (source.name, source.period_s) == (camera.url("/now.jpg"), 5)
    with closing(source.frames()) as frames:
        assert list(islice(frames, 3)) == jpegs[:3]
    assert len(camera.requests) == 3


def test_a_stream_gives_its_pictures_and_is_not_requested_twice(
    camera: HttpCamera, jpegs: list[bytes]
) -> None:
    camera.pages["/live"] = stream(jpegs, pause_s=0)
    (source,) = open_url(camera.url("/live"), ONCE)
    assert isinstance(source, WebStream)
    assert list(source.frames()) == jpegs
    assert len(camera.requests) == 1
    assert list(source.frames()) == jpegs  # opened again
    assert len(camera.requests) == 2


def test_a_stream_is_told_by_its_first_line_where_the_server_does_not_say(
    camera: HttpCamera, jpegs: list[bytes]
) -> None:
    parts = b"".join(b"--part\r\nContent-Type: image/jpeg\r\n\r\n%b\r\n" % jpeg for jpeg in jpegs)
    camera.pages["/live"] = picture(parts, "application/octet-stream")
    (source,) = open_url(camera.url("/live"), ONCE)
    assert isinstance(source, WebStream)
    assert list(source.frames()) == jpegs


def test_a_stream_that_stops_sending_is_lost(
    camera: HttpCamera, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_TIMEOUT_S", 0.5)
    camera.pages["/live"] = stream(jpegs[:1], pause_s=2)
    (source,) = open_url(camera.url("/live"), ONCE)
    assert isinstance(source, WebStream)
    frames = source.frames()
    assert next(frames) == jpegs[0]
    with pytest.raises(CaptureError) as caught:
        next(frames)
    assert str(caught.value) == f"'{camera.url('/live')}' cannot be fetched: timed out."


def test_a_stream_that_sends_everything_but_pictures_is_lost(
    camera: HttpCamera, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_PICTURE_S", 0.3)
    camera.pages["/live"] = stream(chain(jpegs[:2], repeat(b"Please wait.")))
    (source,) = open_url(camera.url("/live"), ONCE)
    assert isinstance(source, WebStream)
    frames = source.frames()
    assert list(islice(frames, 2)) == jpegs[:2]
    with pytest.raises(CaptureError) as caught:
        next(frames)
    assert str(caught.value) == f"'{camera.url('/live')}' sent no whole picture for 0 s."


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
def test_the_user_and_password_of_an_address_are_used_and_not_shown(
    camera: HttpCamera, jpegs: list[bytes], digest: bool
) -> None:
    expected = "Basic " + base64.b64encode(b"admin:p@ss").decode()
    challenge = 'Digest realm="camera", nonce="abc", qop="auth"' if digest else 'Basic realm="x"'

    def guarded(request: http.server.BaseHTTPRequestHandler) -> None:
        given = request.headers.get("Authorization", "")
        if given.startswith('Digest username="admin"') if digest else given == expected:
            picture(jpegs[0])(request)
            return
        request.send_response(401)
        request.send_header("WWW-Authenticate", challenge)
        request.end_headers()

    camera.pages["/now.jpg"] = guarded
    url = camera.url("/now.jpg")
    assert open_url(camera.url("/now.jpg", "admin:p%40ss@"), ONCE) == [Source(url, jpegs[0])]
    error = refusal(url)
    assert str(error) == f"'{url}' cannot be fetched: 401 Unauthorized."
    assert error.hint == "put them into the address: http://USER:PASSWORD@..."
    if not digest:
        wrong = refusal(camera.url("/now.jpg", "admin:wrong@"))
        assert "wrong" not in str(wrong)


def test_redirects_are_followed_to_http_only(
    camera: HttpCamera, jpegs: list[bytes], tmp_path
) -> None:
    (tmp_path / "secret.jpg").write_bytes(jpegs[0])
    camera.pages["/now.jpg"] = picture(jpegs[0])
    camera.pages["/moved"] = redirect(camera.url("/now.jpg"))
    camera.pages["/file"] = redirect(f"file://{tmp_path}/secret.jpg")
    camera.pages["/ftp"] = redirect("ftp://127.0.0.1/now.jpg")
    camera.pages["/circle"] = redirect(camera.url("/circle"))
    assert open_url(camera.url("/moved"), ONCE) == [Source(camera.url("/moved"), jpegs[0])]
    assert str(refusal(camera.url("/file"))).startswith(
        f"'{camera.url('/file')}' cannot be fetched: 302 "
    )
    assert "unknown url type: ftp" in str(refusal(camera.url("/ftp")))
    assert "302 " in str(refusal(camera.url("/circle")))


def test_what_cannot_be_fetched_is_named_with_the_reason(
    camera: HttpCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quits(request: http.server.BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"not http\r\n\r\n")

    def endless(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "image/jpeg")
        request.end_headers()
        while True:
            request.wfile.write(b"\0" * 65536)

    camera.pages |= {"/broken": quits, "/endless": endless}
    camera.pages["/clip"] = picture(b"x", "video/mp4")
    absent = camera.url("/absent")
    assert str(refusal(absent)) == f"'{absent}' cannot be fetched: 404 Not Found."
    assert "cannot be fetched: not http" in str(refusal(camera.url("/broken")))
    assert str(refusal(camera.url("/clip"))) == f"'{camera.url('/clip')}' is a video (video/mp4)."
    with HttpCamera() as gone:
        pass
    assert "Connection refused" in str(refusal(gone.url("/")))
    monkeypatch.setattr(web, "MAX_PICTURE_BYTES", 1024**2)
    assert str(refusal(camera.url("/endless"))).endswith("/endless' is larger than 1 MiB.")
    monkeypatch.setattr(web, "_PICTURE_S", 0.0)
    assert str(refusal(camera.url("/endless"))).endswith("/endless' took longer than 0 s.")


def test_a_picture_that_fails_later_is_a_loss(camera: HttpCamera, jpegs: list[bytes]) -> None:
    camera.pages["/now.jpg"] = picture(jpegs[0])
    (source,) = open_url(camera.url("/now.jpg"), Pace(every_s=1))
    assert isinstance(source, Snapshots)
    del camera.pages["/now.jpg"]
    frames = source.frames()
    assert next(frames) == jpegs[0]
    with pytest.raises(CaptureError, match="404 Not Found"):
        next(frames)
