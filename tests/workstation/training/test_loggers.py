import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgetl.core.errors import EdgetlError
from edgetl.workstation.recipe import Recipe, override
from edgetl.workstation.training.history import EpochMetrics, find_loggers

RECIPE = override(Recipe(), ["finetune.epochs=2", "augment=strong", "head.hidden=[64,32]"])
WITHOUT_VAL = {"val_loss": None, "val_top1": None, "val_calibrated_loss": None}
SCALARS = {
    "train_loss": [(1, 2.0), (2, 1.0)],
    "val_loss": [(1, 2.5)],
    "val_top1": [(1, 0.25)],
    "val_calibrated_loss": [(1, 1.5)],
    "rate": [(1, 0.125), (2, 0.0625)],
}


def log(name: str, out: Path) -> None:
    """A run of two epochs, whose second is without validation."""
    (opened,) = find_loggers((name,))
    out.mkdir(exist_ok=True)
    logger = opened(out, RECIPE, resume=False)
    first = EpochMetrics(
        epoch=1,
        train_loss=2.0,
        val_loss=2.5,
        val_top1=0.25,
        val_calibrated_loss=1.5,
        rate=0.125,
        seconds=1.0,
    )
    logger.epoch(first)
    logger.epoch(EpochMetrics(epoch=2, train_loss=1.0, rate=0.0625, seconds=2.0, **WITHOUT_VAL))
    logger.end({"val_top1": 0.5, "test_top1": 0.75})


def test_tensorboard_finds_the_scalars_in_the_run_folder(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log("tensorboard", tmp_path)
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for name, expected in SCALARS.items():
        assert [(e.step, e.value) for e in events.Scalars(name)] == expected
    assert [e.value for e in events.Scalars("end/val_top1")] == [0.5]
    assert [e.value for e in events.Scalars("end/test_top1")] == [0.75]
    (text,) = events.Tensors("recipe/text_summary")
    assert b"rand_augment: 9" in text.tensor_proto.string_val[0]


def test_mlflow_finds_the_recipe_and_the_scalars_in_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    log("mlflow", tmp_path / "first")
    log("mlflow", tmp_path / "second")  # into the same experiment

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("edgetl")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["first", "second"]
    for run in runs:
        assert run.info.status == "FINISHED"
        for name, expected in SCALARS.items():
            history = client.get_metric_history(run.info.run_id, name)
            assert [(m.step, m.value) for m in history] == expected
        assert run.data.metrics["end/val_top1"] == 0.5
        assert run.data.metrics["end/test_top1"] == 0.75
        assert run.data.params["finetune.epochs"] == "2"
        assert run.data.params["augment.rand_augment"] == "9"
        assert run.data.params["head.hidden"] == "(64, 32)"
        assert run.data.params["split.val"] == "0.0"
        assert run.data.params["image_size_px"] == "None"


def test_a_resumed_run_goes_on_in_the_run_that_mlflow_has_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    (opened,) = find_loggers(("mlflow",))
    opened(tmp_path, RECIPE, resume=False)  # and killed
    opened(tmp_path, RECIPE, resume=True).end({"test_top1": 0.5})
    (run,) = mlflow.MlflowClient().search_runs(["1"])
    assert run.info.status == "FINISHED"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    opened(tmp_path, RECIPE, resume=True)  # a store that has never heard of it
    assert len(mlflow.MlflowClient().search_runs(["1"])) == 1


@pytest.mark.parametrize(
    ("name", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow")]
)
def test_a_logger_whose_package_is_missing_says_what_to_install(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, f"edgetl.workstation.training.log_{name}", raising=False)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(EdgetlError) as caught:
        find_loggers((name,))
    assert str(caught.value) == (
        f"Logging to {name} needs a package that is not installed: {package}."
    )
    assert caught.value.hint == f"pip install 'edgetl[{name}]'"


def test_an_unknown_logger_names_the_nearest() -> None:
    with pytest.raises(EdgetlError) as caught:
        find_loggers(("tensorbord",))
    assert str(caught.value) == "There is no logger 'tensorbord'."
    assert caught.value.hint == (
        "did you mean 'tensorboard'? The choices are: mlflow, tensorboard."
    )


def test_no_names_open_nothing() -> None:
    assert find_loggers(()) == []
