"""Score a run or a bundle on any folder of class folders."""

from pathlib import Path

from edgetl.core.metrics import accuracy_report
from edgetl.core.progress import Progress, Silent
from edgetl.core.reports import AccuracyReport
from edgetl.data.folders import read_labelled
from edgetl.pipeline.models import open_scorable
from edgetl.verify.accuracy import answer_all


def evaluate(
    target: Path,
    data: Path,
    *,
    artifact: str | None = None,
    engine: str = "auto",
    progress: Progress | None = None,
) -> AccuracyReport:
    """Score on class folders, matched to the model's labels by name.

    Args:
        target: a run folder (scored through torch) or a bundle (through its engine).
        data: class folders; a class the model does not know is an error.
        artifact: of a bundle, e.g. "tflite-int8".
        engine: of a bundle.

    Raises EdgetlError.
    """
    it = open_scorable(target, artifact, engine)
    examples = read_labelled(data, it.labels).examples
    answers = answer_all(
        {"it": it.model}, examples, it.preprocess, progress or Silent(), stage="evaluating"
    )
    return accuracy_report(
        answers.truth,
        answers.predicted["it"],
        it.labels,
        subject=it.name,
        skipped=answers.skipped,
    )
