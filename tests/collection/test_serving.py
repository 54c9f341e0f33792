"""`edgetl serve --collect`: pictures are kept, answers counted, and the metrics have the drift."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from starlette.types import Message

from edgetl.bundle.archive import Bundle
from edgetl.collection.days import read_days
from edgetl.collection.records import read_contents
from edgetl.runtime.classifier import Classifier
from edgetl.serving import collecting
from edgetl.serving.app import make_app
from edgetl.serving.collecting import CollectionMetrics
from tests.collection.making import answer
from tests.serving.running import running, wait_for


def test_a_server_keeps_pictures_and_measures_the_drift(
    tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    files = sorted(pictures.rglob("*.png"))[::2]
    with running(
        "edgetl", "serve", tiny_bundle, "--port", 0, "--threads", 1, "--collect", kept,
        "--collect-below", 0, "--collect-share", 1,
    ) as server:  # fmt: skip
        names = [("../../x.png", path.read_bytes()) for path in files[:10]]
        assert server.post_form(*names).status == 200
        for path in files[10:]:
            assert server.post(path.read_bytes()).status == 200
        wait_for(lambda: len(list(kept.glob("*.json"))) == len(files))
        metrics = server.get("/metrics").body.decode()
        assert server.stop() == 0
        assert server.process.stderr
        said = server.process.stderr.read()
    found = read_contents(kept)
    assert found.problems == ()
    assert {each.path.read_bytes() for each in found.pictures} == {f.read_bytes() for f in files}
    assert {each.record.prediction.source for each in found.pictures} == {"../../x.png", "-"}
    ((entry,),) = [day.entries for day in read_days(kept)[0]]
    assert (entry.answers.images, entry.bundle) == (30, Bundle(tiny_bundle).digest)
    assert f"kept in {kept}: " in said
    assert "edgetl_drift_pictures 30.0" in metrics
    assert 'edgetl_drift_psi{quantity="confidence"} ' in metrics
    assert 'edgetl_drift_p_value{quantity="classes"} ' in metrics
    counts = [
        float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith("edgetl_collected_total{")
    ]
    assert sum(counts) == 30
    assert "edgetl_collection_lost_total 0.0" in metrics


def test_the_drift_is_measured_at_most_once_a_minute(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgetl.collection.choosing import Rules
    from edgetl.collection.collector import Collector

    now = 1000.0
    monkeypatch.setattr(collecting, "time", SimpleNamespace(monotonic=lambda: now))
    classifier = Classifier(tiny_bundle, threads=1)
    collector = Collector(tmp_path / "kept", classifier, Rules(0.0, 0.0, 0.0), 10**6, print)
    metrics = CollectionMetrics(collector, classifier)

    def pictures() -> float:
        found = {metric.name: metric for metric in metrics.collect()}
        return float(found["edgetl_drift_pictures"].samples[0].value)

    assert pictures() == 0
    collector.add(b"", answer(classifier.labels[0]))
    assert pictures() == 0
    now += 61
    assert pictures() == 1
    collector.close()


def test_a_disk_that_hangs_holds_up_the_metrics_alone(tiny_bundle: Path) -> None:
    app, reads = make_app(Classifier(tiny_bundle, threads=1)), threading.Event()

    class Disk:
        def collect(self) -> Iterator[Metric]:
            assert reads.wait(30)
            yield GaugeMetricFamily("read", "From the disk.", value=1)

    app.state.metrics.register(Disk())

    async def get(path: str) -> bytes:
        body = b""

        async def send(message: Message) -> None:
            nonlocal body
            body += message.get("body", b"")

        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
        await app(scope, receive, send)
        return body

    async def receive() -> Message:
        return {"type": "http.request"}

    async def both() -> tuple[bytes, bytes]:
        metrics = asyncio.create_task(get("/metrics"))
        await asyncio.sleep(0)
        health = await asyncio.wait_for(get("/healthz"), 20)
        assert not metrics.done()
        reads.set()
        return health, await metrics

    health, metrics = asyncio.run(both())
    app.state.predictor.close()
    assert json.loads(health)["status"] == "ok"
    assert b"read 1.0" in metrics


def test_without_a_folder_there_are_no_such_metrics(tiny_bundle: Path) -> None:
    with running("edgetl", "serve", tiny_bundle, "--port", 0, "--threads", 1) as server:
        assert b"edgetl_drift" not in server.get("/metrics").body
        assert json.loads(server.post().body)["label"]
