"""Search for better values of a recipe: trials, shared with other processes, and their result."""

import math
import time
from pathlib import Path

import msgspec
from optuna import Study
from optuna.exceptions import UpdateFinishedTrialError
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from edgetl.core.errors import EdgetlError
from edgetl.core.files import make_folder, write_text
from edgetl.core.progress import Progress, Silent
from edgetl.core.quiet import quiet
from edgetl.core.schema import to_json, to_yaml
from edgetl.data.dataset import base_folder
from edgetl.data.split import make_parts
from edgetl.workstation.datasets.locate import locate
from edgetl.workstation.ranges import Ranges
from edgetl.workstation.recipe import (
    RECIPE_FILE,
    Recipe,
    load_ranges,
    with_epochs,
    with_validation,
)
from edgetl.workstation.search import study as studies
from edgetl.workstation.search.chart import draw_search
from edgetl.workstation.search.results import SEARCH_FILE, Search, State, Trial
from edgetl.workstation.search.space import Space, make_space
from edgetl.workstation.search.storage import Place
from edgetl.workstation.search.trial import TRIALS_FOLDER, SuperfluousError, Trainer, number_of
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.user_recipe import user_recipe

CHART_FILE = "search.png"
STUDY_FILE = "study.db"
DEFAULT_TRIALS = 20
DEFAULT_STUDY = "search"
_LEAST_FOR_IMPORTANCES = 8
_LOOK_EVERY_S = 1.0
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
}


def search(
    recipe: str | Recipe,
    data: str | Path,
    out: str | Path,
    *,
    trials: int = DEFAULT_TRIALS,
    ranges: Ranges | None = None,
    storage: str | None = None,
    study: str = DEFAULT_STUDY,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Search:
    """Search for values of a recipe's keys with a lower validation loss, with Optuna.

    A trial trains by the recipe with other values and is scored on validation pictures: the
    recipe's or the data's own validation part, or else a fifth of the pictures. The test part takes
    no part. Trials minimise the calibrated validation loss, since on a few hundred pictures top-1
    changes in steps and by chance. Values are drawn by TPE (Bergstra et al. 2011), the first trial
    has the recipe's own, and from the fifth on a trial ends halfway unless it is in the better half
    of those before it (successive halving, Li et al. 2020, "A System for Massively Parallel
    Hyperparameter Tuning").

    Args:
        recipe: the recipe, its name, or the path of its YAML file.
        data: pictures, as `finetune` takes them.
        out: the folder of the result: `recipe.yaml` with the best values, `search.json`,
            `search.png`, and the finished trials' runs in `trials`.
        trials: how many trials the study is to have in all, pruned ones included.
        ranges: what to search, by the recipe's keys; None: what the recipe's file declares, or else
            learning rates, weight decay and the smallest crop.
        storage: an SQLite file or a database's URL, which several processes may share; None:
            `study.db` in `out`.
        study: the study's name in the storage.
        resume: go on in a folder that an earlier search left.
        device: as in `finetune`.
        progress: where to show how far it is.

    Returns the search, whose `best` is the number of the best trial. Raises EdgetlError for
    unusable ranges, data or storage, a study of something else, or if no trial could be finished.

    Examples:
        ```python
        from edgetl.workstation.ranges import Between

        rate = Between(low=1e-4, high=1e-2, log=True)
        found = edgetl.search(
            "edge-fast", "photos", "search", trials=2, ranges={"finetune.head_rate": rate}
        )
        print(f"{found.counted} trials; the best: {found.best}")
        ```
    """
    progress, out = progress or Silent(), Path(out)
    if isinstance(recipe, str):
        ranges = load_ranges(recipe) if ranges is None else ranges
        recipe = user_recipe(recipe)
    require_free(out, resume=resume or storage is not None)
    place = Place(storage or str(out / STUDY_FILE))
    compute = Compute(recipe, device)
    located = locate(Path(data), progress)
    compared = with_validation(recipe)
    parts = make_parts(located, compared.split, compared.seed)._replace(test=[])
    space = make_space(with_epochs(compared, len(parts.train), gpu=compute.gpu), ranges or {})
    base = base_folder(located)
    identity = studies.identity_of(space, parts, base)
    make_folder(out)
    opened = place.open()
    with place.errors():
        joined = studies.join(opened, study, identity, space.own_values)
        trainer = Trainer(space, parts, base, out, trials, device, progress)
        _run(joined, trainer)
        result = Search(
            data=str(data),
            storage=str(place),
            study=study,
            wanted=trials,
            ranges=space.ranges,
            val_images=len(parts.val),
            trials=tuple(_trial(trial) for trial in _mattering(joined)),
            importances=_importances(joined),
        )
    return _written(result, recipe, space, out)


def require_free(out: Path, *, resume: bool) -> None:
    """Raise EdgetlError if a folder holds something else, or a search that is not to go on."""
    if not out.is_dir() or not any(out.iterdir()):
        return
    is_search = any((out / name).exists() for name in (STUDY_FILE, SEARCH_FILE, TRIALS_FOLDER))
    if is_search and resume:
        return
    raise EdgetlError(
        f"'{out}' already holds a search." if is_search else f"'{out}' is not empty.",
        hint="choose another folder with -o" + (", or go on with --resume." if is_search else "."),
    )


def _run(study: Study, trainer: Trainer) -> None:
    """Run trials until the study has as many as are wanted; other processes may do the same.

    Waits for trials of other processes, and takes over those whose process died.
    """
    waiting = False
    while studies.ended(study) < trainer.wanted:
        if not studies.has_room(study, trainer.wanted):
            if not waiting:
                trainer.progress.say("waiting for the last trials, which other processes run")
            waiting = True
            time.sleep(_LOOK_EVERY_S)
            continue
        waiting = False
        try:
            study.optimize(trainer.run, n_trials=1, catch=(SuperfluousError,))
        except ValueError as error:
            # This process was silent for so long (a suspended machine) that it counted as dead.
            if not isinstance(error.__context__, UpdateFinishedTrialError):
                raise
            trainer.progress.say("this process counted as dead; its trial was put in line again")


def _mattering(study: Study) -> list[FrozenTrial]:
    return [t for t in study.get_trials() if studies.SUPERFLUOUS not in t.user_attrs]


def _trial(trial: FrozenTrial) -> Trial:
    facts, loss = trial.user_attrs, trial.value
    died = trial.state == TrialState.FAIL
    return Trial(
        number=number_of(trial),
        state=_STATES[trial.state],
        values=facts.get(studies.VALUES, {}),
        val_loss=loss if loss is not None and math.isfinite(loss) else None,
        val_top1=facts.get(studies.TOP1),
        seconds=facts.get(studies.SECONDS),
        own=bool(facts.get(studies.OWN)),
        reason=facts.get(studies.REASON, "its process died" if died else ""),
    )


def _importances(study: Study) -> dict[str, float]:
    """The importance of each key; empty for too few trials."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < _LEAST_FOR_IMPORTANCES:
        return {}
    with quiet():
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {key: round(share, 4) for key, share in found.items()}


def _written(result: Search, recipe: Recipe, space: Space, out: Path) -> Search:
    """Write the result, with the best trial's recipe."""
    ranked = result.ranked
    if not ranked:
        raise EdgetlError(
            f"No trial could be trained to its end; the first: {result.trials[0].reason}",
            hint="see that `edgetl finetune` with the recipe learns something.",
        )
    best = ranked[0]
    result = msgspec.structs.replace(result, best=best.number)
    chosen = space._replace(recipe=recipe).with_values(best.values)
    write_text(out / RECIPE_FILE, to_yaml(chosen))
    write_text(out / SEARCH_FILE, to_json(result))
    draw_search(result, out / CHART_FILE)
    return result
