"""Log a run to MLflow, in the store that MLflow's own settings name (MLFLOW_TRACKING_URI)."""

import time
from pathlib import Path
from typing import Any

import msgspec
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from edgetl.core.files import write_text
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.history import EpochMetrics

EXPERIMENT = "edgetl"
ID_FILE = "mlflow-run-id"


class MLflow:
    """Logs the recipe's keys as parameters, metrics by epoch, and scores at the end."""

    def __init__(self, out: Path, recipe: Recipe, *, resume: bool) -> None:
        self._client = MlflowClient()
        begun = self._begun(out / ID_FILE) if resume else None
        self._id = begun or self._begin(out, recipe)
        write_text(out / ID_FILE, self._id)

    def _begin(self, out: Path, recipe: Recipe) -> str:
        existing = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = (
            existing.experiment_id if existing else self._client.create_experiment(EXPERIMENT)
        )
        run = self._client.create_run(experiment, run_name=out.resolve().name)
        params = [Param(key, str(value)) for key, value in _flat(msgspec.to_builtins(recipe))]
        self._client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)

    def _begun(self, path: Path) -> str | None:
        """The id of the interrupted run; None if this store does not have it."""
        try:
            run_id = path.read_text().strip()
            self._client.get_run(run_id)
        except (OSError, UnicodeDecodeError, MlflowException):
            return None  # logged to another store, or not logged before
        return run_id

    def epoch(self, metrics: EpochMetrics) -> None:
        self._log(metrics.scalars(), metrics.epoch)

    def end(self, scores: dict[str, float]) -> None:
        self._log({f"end/{name}": value for name, value in scores.items()}, 0)
        self._client.set_terminated(self._id)

    def _log(self, values: dict[str, float], step: int) -> None:
        now = round(time.time() * 1000)
        self._client.log_batch(self._id, [Metric(name, v, now, step) for name, v in values.items()])


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """`{"split": {"val": 0.1}}` -> `[("split.val", 0.1)]`."""
    pairs: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs
