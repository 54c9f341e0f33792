"""`edgetl serve` in a process of its own: what is answered to whom."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from edgetl.bundle.archive import Bundle
from edgetl.bundle.reports import Prediction
from edgetl.runtime.classifier import Classifier
from tests.conftest import Command
from tests.making import KINDS, encoded
from tests.serving.running import PICTURE, Server, running


def without_times(prediction: Prediction) -> Prediction:
    return msgspec.structs.replace(
        prediction, source="", decode_ms=0.0, preprocess_ms=0.0, inference_ms=0.0
    )


def test_one_line_says_what_runs_where(server: Server, tiny_bundle: Path) -> None:
    classifier = Classifier(tiny_bundle)
    assert server.ready == (
        f"serving model.edgetl ({classifier.artifact.name} through {classifier.engine_version}) "
        f"on http://127.0.0.1:{server.port}\n"
    )


def test_a_picture_is_answered_as_run_answers_it(
    server: Server, tiny_bundle: Path, pictures: Path, edgetl: Command
) -> None:
    picture = pictures / "slope" / "03.png"
    served = server.post(picture.read_bytes(), "?top=3")
    assert (served.status, served.headers["Content-Type"]) == (200, "application/json")
    (printed,) = json.loads(edgetl("run", tiny_bundle, picture, "--json").out)
    assert served.json.keys() == printed.keys()
    assert served.json["top"] == printed["top"]
    assert served.json["source"] == "-"
    assert min(served.json[f"{step}_ms"] for step in ("decode", "preprocess", "inference")) > 0


def test_answers_are_those_of_a_classifier(server: Server, tiny: Bundle, pictures: Path) -> None:
    classifier = Classifier(tiny, threads=1)
    for kind in KINDS:
        picture = (pictures / kind / "07.png").read_bytes()
        expected = classifier(picture, unknown=classifier.has_unknown_rule)
        answered = msgspec.json.decode(server.post(picture).body, type=Prediction)
        assert without_times(answered) == without_times(expected)


def test_unknown_is_answered_where_the_bundle_can(server: Server, tiny: Bundle) -> None:
    can = Classifier(tiny, threads=1).has_unknown_rule
    assert (server.post().json["unknown"] is not None) == can
    assert server.get("/v1/model").json["unknown"] == can


@pytest.mark.parametrize("kind", ["image/png", "image/*", "IMAGE/JPEG", "application/octet-stream"])
def test_every_content_type_of_a_picture_is_taken(server: Server, kind: str) -> None:
    assert server.post(content_type=kind).status == 200


def test_top_is_how_many_classes_are_told(server: Server) -> None:
    assert [len(server.post(query=f"?top={top}").json["top"]) for top in (1, 2, 1000)] == [1, 2, 3]
    assert len(server.post().json["top"]) == 3  # of at most five


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?top=0", "top: '0' is not a number from 1 to 1,000."),
        ("?top=1001", "top: '1001' is not a number from 1 to 1,000."),
        ("?top=-1", "top: '-1' is not a number from 1 to 1,000."),
        ("?top=", "top: '' is not a number from 1 to 1,000."),
        ("?top=%D9%A3", "top: '\u0663' is not a number from 1 to 1,000."),
        ("?top=" + "9" * 5000, f"top: '{'9' * 5000}' is not a number from 1 to 1,000."),
        ("?top=1&top=2", "The parameter 'top' is given twice."),
        ("?explain=yes", "explain: 'yes' is neither true nor false."),
        ("?tpo=1", "There is no parameter 'tpo'."),
    ],
)
def test_a_wrong_parameter_is_named(server: Server, query: str, error: str) -> None:
    answer = server.post(query=query)
    assert (answer.status, answer.json["error"]) == (400, error)


def test_a_misspelt_parameter_gets_a_hint(server: Server) -> None:
    hint = server.post(query="?tpo=1").json["hint"]
    assert hint == "did you mean 'top'? The choices are: explain, top."


def test_a_heatmap_that_the_bundle_cannot_make_is_refused(server: Server) -> None:
    assert server.post(query="?explain=false").status == 200
    answer = server.post(query="?explain=true")
    assert answer.status == 400
    assert answer.json == {
        "error": "explain: this artifact has no feature map, which heatmaps are made from.",
        "hint": "export again with --explain-output.",
    }


def test_a_broken_picture_is_an_error_that_says_why(server: Server) -> None:
    answer = server.post(b"no picture")
    assert answer.status == 422
    assert answer.json["error"] == (
        "the picture cannot be read as a picture: no known picture format."
    )
    assert answer.json["hint"].startswith("check that the file is whole")


def test_a_picture_with_too_many_pixels_is_refused(server: Server) -> None:
    answer = server.post(encoded(Image.new("1", (8000, 7000)), "PNG"))
    assert answer.status == 422
    assert answer.json["error"] == (
        "the picture has 8000 x 7000 pixels, more than the limit of 50 megapixels."
    )


@pytest.mark.parametrize(
    ("body", "kind", "status", "error"),
    [
        (b"", "image/png", 400, "The body is empty."),
        (b"a=1", "application/x-www-form-urlencoded", 415,
         "Content-Type 'application/x-www-form-urlencoded' is neither a picture nor a form."),
        (b"{}", "application/json", 415,
         "Content-Type 'application/json' is neither a picture nor a form."),
        (b"a", "multipart/form-data", 400,
         "The form cannot be read: its Content-Type has no boundary."),
    ],
)  # fmt: skip
def test_a_body_that_is_no_picture_is_refused(
    server: Server, body: bytes, kind: str, status: int, error: str
) -> None:
    answer = server.post(body, content_type=kind)
    assert (answer.status, answer.json["error"]) == (status, error)


def test_a_form_is_answered_in_order_and_a_broken_picture_spoils_no_other(
    server: Server, pictures: Path
) -> None:
    files = [(f"{kind}.png", (pictures / kind / "01.png").read_bytes()) for kind in KINDS]
    files.insert(1, ("broken.png", files[0][1][:60]))
    answer = server.post_form(*files)
    assert answer.status == 200
    assert [entry["source"] for entry in answer.json] == [name for name, _ in files]
    alone = [server.post(content) for _, content in files]
    assert [entry.get("top") for entry in answer.json] == [one.json.get("top") for one in alone]
    assert answer.json[1] == {"source": "broken.png", **alone[1].json}
    assert alone[1].status == 422


def test_a_form_of_one_picture_is_a_list_of_one(server: Server) -> None:
    (entry,) = server.post_form(("ü.png", PICTURE)).json
    assert entry["source"] == "ü.png"
    assert entry["top"] == server.post().json["top"]


def test_healthz_says_what_runs(server: Server, tiny: Bundle) -> None:
    import hashlib

    import edgetl

    answer = server.get("/healthz")
    classifier = Classifier(tiny, threads=1)
    assert answer.status == 200
    assert answer.json == {
        "status": "ok",
        "bundle": "model.edgetl",
        "bundle_sha256": hashlib.sha256(tiny.path.read_bytes()).hexdigest(),
        "artifact": classifier.artifact.name,
        "engine": classifier.engine_version,
        "provider": classifier.provider,
        "version": edgetl.__version__,
    }


def test_the_model_is_described(server: Server, tiny: Bundle) -> None:
    answer = server.get("/v1/model").json
    assert answer["labels"] == list(tiny.manifest.labels)
    assert (answer["size_px"], answer["explains"]) == (32, False)
    assert (answer["max_body_bytes"], answer["max_files"]) == (20_000_000, 16)


def test_what_is_not_there_is_json_too(server: Server) -> None:
    answer = server.get("/v2/predict")
    assert (answer.status, answer.json["error"]) == (404, "There is no '/v2/predict'.")
    answer = server.get("/v1/predict")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert answer.json["error"] == "'/v1/predict' does not take GET."


def test_a_connection_serves_many_requests(server: Server) -> None:
    connection = server.connect()
    for _ in range(3):
        connection.request("POST", "/v1/predict", PICTURE, {"Content-Type": "image/png"})
        response = connection.getresponse()
        assert response.status == 200
        response.read()
    connection.close()


def test_requests_and_pictures_are_counted(tiny_bundle: Path, pictures: Path) -> None:
    with running("edgetl", "serve", tiny_bundle, "--port", 0, "--no-unknown") as server:
        answers = [server.post((pictures / kind / "02.png").read_bytes()).json for kind in KINDS]
        answers.append(server.post_form(("a.png", PICTURE), ("b.png", b"no picture")).json[0])
        assert {answer["unknown"] for answer in answers} == {None}
        labels = [answer["label"] for answer in answers]
        server.post(b"no picture")
        server.post(query="?top=0")
        counted = {
            label: server.metric(f'edgetl_pictures_total{{label="{label}",unknown="false"}}')
            for label in KINDS
        }
        assert counted == {label: labels.count(label) for label in KINDS}
        assert server.metric("edgetl_pictures_unreadable_total") == 2
        statuses = {s: server.metric(f'edgetl_requests_total{{status="{s}"}}') for s in (400, 422)}
        assert statuses == {400: 1, 422: 1}
        for stage, count in {"decode": 4, "preprocess": 4, "inference": 4, "total": 5}.items():
            name = f'edgetl_latency_seconds_count{{stage="{stage}"}}'
            assert server.metric(name) == count, stage
        assert server.metric("edgetl_queue_length") == 0
        assert server.metric("edgetl_requests_in_flight") == 1  # that for the metrics
        assert server.metric("process_resident_memory_bytes") > 1e7
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_exit_code_0(tiny_bundle: Path, number: signal.Signals) -> None:
    with running("edgetl", "serve", tiny_bundle, "--port", 0) as server:
        idle = server.socket()  # an open connection does not keep it
        assert server.post().status == 200
        server.process.send_signal(number)
        out, err = server.process.communicate(timeout=30)
        idle.close()
        assert (server.process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_an_error_before_anything_is_loaded(edgetl: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = edgetl("serve", "not-there.edgetl", "--port", port)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.splitlines() == [
        f"Error: Port {port} of 127.0.0.1 is in use.",
        f"Hint: stop the other server, or choose another port: --port {port + 1}",
    ]


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", "a" * 64])
def test_a_host_that_is_not_this_machine_is_an_error(edgetl: Command, host: str) -> None:
    answer = edgetl("serve", "not-there.edgetl", "--host", host, "--port", 0)
    assert answer.code == 1
    assert answer.err.startswith(f"Error: '{host}' is not an address of this machine.\n")


def test_a_missing_bundle_is_an_error(edgetl: Command) -> None:
    answer = edgetl("serve", "not-there.edgetl", "--port", 0)
    assert answer.code == 1
    assert answer.err.startswith("Error: 'not-there.edgetl' is not a file.\n")


def test_a_missing_library_is_an_error_that_says_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['starlette'] = None\nsys.argv = ['edgetl', 'serve', 'a.edgetl']\n"
        "from edgetl.cli.main import main\nmain()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "Error: This needs 'starlette', which is not installed here.",
        "Hint: pip install 'edgetl[serve]'",
    ]
