"""Score a run or a bundle on any labelled pictures."""

from collections.abc import Sequence
from pathlib import Path

from edgetl.core.metrics import accuracy_report
from edgetl.core.progress import Progress, Silent
from edgetl.core.reports import AccuracyReport
from edgetl.data.folders import Example
from edgetl.data.source import read_for_scoring
from edgetl.data.split import SPLITS_FILE, read_split
from edgetl.pipeline.located import locate
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
    """Score on labelled pictures, matched to the model's labels by name.

    Args:
        target: a run folder (scored through torch) or a bundle (through its engine).
        data: class folders, a CSV table, or "torchvision:NAME"; of one that gives parts, the
            test part, else the val part. A class the model does not know is an error.
        artifact: of a bundle, e.g. "tflite-int8".
        engine: of a bundle.

    Raises EdgetlError.
    """
    progress = progress or Silent()
    it = open_scorable(target, artifact, engine)
    examples = read_for_scoring(locate(data, progress), it.labels)
    if target.is_dir():
        _say_if_trained_on(target, examples, progress)
    answers = answer_all({"it": it.model}, examples, it.preprocess, progress, stage="evaluating")
    return accuracy_report(
        answers.truth,
        answers.logits["it"],
        it.labels,
        subject=it.name,
        skipped=answers.skipped,
        temperature=it.temperature,
    )


def _say_if_trained_on(run: Path, examples: Sequence[Example], progress: Progress) -> None:
    """A score on training pictures says little; whoever asks for one should know."""
    if not (run / SPLITS_FILE).is_file():
        return
    split = read_split(run / SPLITS_FILE)
    trained = {Path(split.root, name) for names in split.train.values() for name in names}
    count = sum(example.path.resolve() in trained for example in examples)
    if count:
        progress.say(f"note: {count} of these {len(examples)} pictures were trained on")
