"""A study: whose it is, which trials count, and whose turn it is."""

import hashlib
import time
from pathlib import Path
from typing import Any

import msgspec
import optuna
from optuna import Study
from optuna.exceptions import DuplicatedStudyError
from optuna.pruners import SuccessiveHalvingPruner
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import TrialState

from edgetl import __version__
from edgetl.core.errors import EdgetlError
from edgetl.core.quiet import quiet
from edgetl.core.schema import Frozen
from edgetl.data.split import Parts, describe
from edgetl.workstation.ranges import Scalar
from edgetl.workstation.search.space import Space

# Attributes of trials and of the study in the storage.
OWN, VALUES, TOP1, SECONDS, REASON = "own", "values", "val_top1", "seconds", "reason"
SUPERFLUOUS = "superfluous"
_IDENTITY = "edgetl"
# How far a trial is, is counted in thousandths of its epochs.
WHOLE = 1000
# Halfway through its epochs a trial goes on if it is in the better half. The next time would be at
# the end, when nothing is asked any more.
_PRUNER = {"min_resource": WHOLE // 2, "reduction_factor": 2}
_WAIT_FOR_CREATOR_S = 20.0
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class Identity(Frozen, kw_only=True, frozen=True):
    """What all trials of a study have in common.

    Attributes:
        edgetl: the version.
        data: hash of the training and validation pictures' names, sizes and classes.
        recipe: the recipe's values by section and key, without the description.
        ranges: what is searched.
    """

    edgetl: str
    data: str
    recipe: dict[str, Any]
    ranges: dict[str, Any]


def identity_of(space: Space, parts: Parts, base: Path) -> Identity:
    """The identity of a search; the same on another machine with the same pictures."""
    recipe = msgspec.to_builtins(space.recipe)
    del recipe["description"]
    return Identity(
        edgetl=__version__,
        data=_data_hash(parts, base),
        recipe=recipe,
        ranges=msgspec.to_builtins(space.ranges),
    )


def join(storage: RDBStorage, name: str, identity: Identity, own: dict[str, Scalar]) -> Study:
    """Create a study whose first trial has the recipe's own values, or join an existing one.

    Raises EdgetlError if the existing study is of another recipe, other ranges or other pictures.
    """
    with quiet():  # what Optuna calls experimental
        pruner = SuccessiveHalvingPruner(**_PRUNER)
        try:
            study = optuna.create_study(storage=storage, study_name=name, pruner=pruner)
        except DuplicatedStudyError:
            study = optuna.load_study(storage=storage, study_name=name, pruner=pruner)
            _require_same(study, identity)
            return study
        study.enqueue_trial(own, user_attrs={OWN: True})
        # Last, so that who finds it finds a whole study.
        study.set_user_attr(_IDENTITY, _plain(identity))
        return study


def ended(study: Study) -> int:
    """How many trials have ended and count."""
    return len(study.get_trials(deepcopy=False, states=_ENDED))


def has_room(study: Study, wanted: int) -> bool:
    """Whether a trial may begin, after trials whose process died have been put back in line."""
    with quiet():
        fail_stale_trials(study)
    taken = study.get_trials(deepcopy=False, states=(*_ENDED, TrialState.RUNNING))
    return len(taken) < wanted


def place_in_line(study: Study, number: int) -> int:
    """How many trials before this one count, or may still count.

    Numbers are given one after another, so that only as many trials as are wanted see fewer than
    that before them, however many processes begin one at the same time.
    """
    states = (*_ENDED, TrialState.RUNNING, TrialState.WAITING)
    before = study.get_trials(deepcopy=False, states=states)
    return sum(trial.number < number for trial in before)


def put_back(trial: optuna.Trial, own: dict[str, Scalar]) -> None:
    """Put an interrupted trial's values in line, to be tried again; `own`: the recipe's."""
    is_own = bool(trial.user_attrs.get(OWN))
    trial.study.enqueue_trial(own if is_own else trial.params, user_attrs={OWN: is_own})


def _require_same(study: Study, identity: Identity) -> None:
    deadline = time.monotonic() + _WAIT_FOR_CREATOR_S
    while (stored := study.user_attrs.get(_IDENTITY)) is None:
        if time.monotonic() > deadline:
            raise EdgetlError(
                f"The study '{study.study_name}' in this storage is not one of edgetl search.",
                hint="give another name with --study.",
            )
        time.sleep(0.2)
    wanted = _plain(identity)
    differences = [
        f"{label}{_keys(stored.get(field), wanted[field])}"
        for field, label in (
            ("edgetl", f"edgetl {stored.get('edgetl')} instead of {identity.edgetl}"),
            ("data", "other pictures, or another split of them"),
            ("recipe", "another recipe"),
            ("ranges", "other ranges"),
        )
        if stored.get(field) != wanted[field]
    ]
    if differences:
        raise EdgetlError(
            f"The study '{study.study_name}' was begun with {'; '.join(differences)}.",
            hint="its trials cannot be compared with new ones: choose another folder with -o and, "
            "in a --storage that is shared, another name with --study.",
        )


def _plain(identity: Identity) -> Any:
    """An identity as a storage returns it: lists for tuples."""
    return msgspec.json.decode(msgspec.json.encode(identity))


def _keys(stored: Any, wanted: Any) -> str:
    """The keys in which two mappings differ, in brackets; "" for other values."""
    if not isinstance(stored, dict) or not isinstance(wanted, dict):
        return ""
    one, other = dict(_flat(stored)), dict(_flat(wanted))
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return f" ({', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''})"


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else []
        found += [] if isinstance(value, dict) else [(prefix + key, value)]
    return found


def _data_hash(parts: Parts, base: Path) -> str:
    """A hash of which picture is in which part and class, with sizes instead of contents."""
    files = describe(parts, base, [])
    digest = hashlib.sha256()
    for part, by_label in (("train", files.train), ("val", files.val)):
        for label, names in by_label.items():
            for name in names:
                size = (base / name).stat().st_size
                digest.update(f"{part}\0{label}\0{name}\0{size}\n".encode())
    return digest.hexdigest()
