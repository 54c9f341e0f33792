"""A collector as an observer of the server's answers, and its metrics."""

import time
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from edgetl.bundle.reports import Prediction
from edgetl.collection.choosing import scene_now
from edgetl.collection.collector import Collector
from edgetl.collection.drift import DriftRow, score_today
from edgetl.runtime.classifier import Classifier

_MEASURE_EVERY_S = 60.0


class CollectingObserver:
    """Hands every answer to a collector (`edgetl.serving.predictor.Observer`)."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def add(self, picture: bytes, prediction: Prediction) -> None:
        """Count the answer, and keep its picture if the collector's rules say so."""
        self._collector.add(picture, prediction, scene=scene_now("requests"))


class CollectionMetrics:
    """What was kept, and how today's answers differ from the bundle's own, for Prometheus.

    The drift is measured at most once a minute, when metrics are collected.

    Args:
        collector: counts the answers.
        classifier: what answers.
    """

    def __init__(self, collector: Collector, classifier: Classifier) -> None:
        self._collector, self._profile = collector, classifier.artifact.profile
        self._row: DriftRow | None = None
        self._measured = -float("inf")

    def collect(self) -> Iterator[Metric]:
        """Return the metrics; prometheus_client calls this."""
        kept = CounterMetricFamily(
            "edgetl_collected", "Pictures that were kept.", labels=["reason"]
        )
        for reason, count in self._collector.kept.items():
            kept.add_metric([reason], count)
        yield kept
        yield CounterMetricFamily(
            "edgetl_collection_lost",
            "Pictures that were to be kept, and could not be.",
            value=self._collector.lost,
        )
        yield from self._drift()

    def _drift(self) -> Iterator[Metric]:
        if self._profile is None:
            return
        now = time.monotonic()
        if now - self._measured >= _MEASURE_EVERY_S:
            self._measured = now
            self._row = score_today(self._profile, self._collector.today())
        row = self._row
        yield GaugeMetricFamily(
            "edgetl_drift_pictures",
            "Today's answers (UTC) that were compared with the bundle's own.",
            value=row.images if row else 0,
        )
        psi = GaugeMetricFamily(
            "edgetl_drift_psi",
            "Population stability index of today's answers against the bundle's own.",
            labels=["quantity"],
        )
        p_value = GaugeMetricFamily(
            "edgetl_drift_p_value", "How probable that index is by chance.", labels=["quantity"]
        )
        for score in row.scores if row else ():
            psi.add_metric([score.quantity], score.psi)
            p_value.add_metric([score.quantity], score.p_value)
        yield psi
        yield p_value
