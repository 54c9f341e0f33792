"""Choose a network and a picture size: time candidates, probe them, train the best few."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgetl.arm_vm.host.boards import BOARDS, Board
from edgetl.benchmarking.host import host_facts
from edgetl.core.errors import DataError, EdgetlError, GateMissedError
from edgetl.core.files import make_folder, write_text
from edgetl.core.progress import Progress, Silent
from edgetl.core.schema import to_json, to_yaml
from edgetl.data.folders import Example
from edgetl.data.reading import read_each
from edgetl.data.split import Parts, make_parts, pick_balanced
from edgetl.devices.profile import DeviceProfile
from edgetl.runtime.preprocess import decode
from edgetl.workstation.choosing.candidates import SIZES_PX, find_candidates
from edgetl.workstation.choosing.chart import draw_plan
from edgetl.workstation.choosing.costs import CostMeter, Known, with_limits
from edgetl.workstation.choosing.decide import (
    estimated_top1,
    keep_half,
    nearest,
    pareto_front,
    pick,
)
from edgetl.workstation.choosing.probing import Prober
from edgetl.workstation.choosing.results import PLAN_FILE, Candidate, Limits, Plan, Result
from edgetl.workstation.choosing.timer import Timer, fitting, merged
from edgetl.workstation.choosing.tuning import Patience, Trainer
from edgetl.workstation.datasets.locate import locate
from edgetl.workstation.export.untrained import usable_formats
from edgetl.workstation.recipe import RECIPE_FILE, Recipe
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.user_recipe import user_recipe

CHART_FILE = "plan.png"
DEFAULT_CHOICE_RECIPE = "edge-fast"
DEFAULT_MINUTES = 25.0
# Reading is timed with so many pictures.
_READ_IMAGES = 20
_QUICK_IMAGES, _PROBE_IMAGES = 400, 1000
# Each of the two rounds of probes takes at most about this share of the time.
_PROBE_SHARE = 0.15
# A candidate is trained briefly only if all of the recipe should fit in this share of the time.
_SHARE = 0.5


def choose(
    data: str | Path,
    out: str | Path,
    recipe: str | Recipe = DEFAULT_CHOICE_RECIPE,
    *,
    limits: Limits | None = None,
    backbones: Sequence[str] = (),
    weights: Mapping[str, str] | None = None,
    sizes_px: Sequence[int] = SIZES_PX,
    target: DeviceProfile | None = None,
    known: Known | None = None,
    threads: int | None = None,
    minutes: float | None = DEFAULT_MINUTES,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Plan:
    """Choose a network and a picture size for some pictures, within limits.

    Candidates are timed in int8 with random weights, compared by cross-validated linear probes,
    and narrowed down: the better half is probed on more pictures, up to four are trained for a
    quarter of the epochs, and up to two by the whole recipe. Latencies between a network's
    smallest and largest size are interpolated at first, and measured where they decide.

    Args:
        data: pictures, as `finetune` takes them.
        out: the plan's folder: `plan.json`, `plan.png`, `recipe.yaml` of the pick, and the runs.
        recipe: what candidates are trained with; its backbone and picture size are replaced.
        limits: what the model must keep to; None: nothing.
        backbones: the networks to consider; empty: all of the catalogue whose weights can be had.
        weights: weights files by backbone.
        sizes_px: the picture sizes to consider.
        target: the board to estimate latencies for; None: they are measured on this machine.
        known: a candidate's latency that was measured on the target; needed with a target.
        threads: the engines' threads; None: as many as `run` would use.
        minutes: probe as many pictures, and train only candidates, as should be done in this time,
            counted from the start; None: however long it takes.
        resume: continue in a folder that an interrupted choice left.
        device: as in `finetune`.
        progress: where to show how far it is.

    Returns the plan, whose `picked` is None if no candidate keeps to the limits. Raises EdgetlError
    for unusable data, weights or settings.

    Examples:
        ```python
        from edgetl.workstation.choosing.results import Limits

        plan = edgetl.choose(
            "photos",
            "plan",
            limits=Limits(max_latency_ms=500),
            weights={"mobilenet_v2": "mobilenet_v2.pth"},
            backbones=["mobilenet_v2"],
            sizes_px=[64, 96],
        )
        print(plan.picked)
        ```
    """
    progress, out, limits = progress or Silent(), Path(out), limits or Limits()
    _require_free(out, resume=resume)
    board = _board(target, known)
    recipe = user_recipe(recipe) if isinstance(recipe, str) else recipe
    compute = Compute(recipe, device)
    located = locate(Path(data), progress)
    parts = _parts(located, recipe)
    trainer = Trainer(
        located, len(parts.train), out, recipe, device, compute.gpu, Patience(minutes), progress
    )
    candidates, left_out = find_candidates(backbones, weights or {}, sizes_px, progress)
    _require_known(known, candidates)
    pictures = _pictures_to_read(parts, recipe) if target is None else []
    meter = CostMeter(recipe, parts.labels, usable_formats(), threads, pictures, target, progress)
    results, not_exported = meter.measure(candidates)
    if not results:
        raise EdgetlError(
            f"No candidate can be exported: {not_exported[0].reason}",
            hint="see `edgetl doctor` for the libraries that export needs.",
        )
    plan = Plan(
        data=str(data),
        machine=host_facts().cpu,
        target=target.name if target else None,
        limits=limits,
        results=(),
        left_out=(*left_out, *not_exported),
    )
    timer = Timer(meter, limits)
    results = timer.near_limits(results) if board is None else results
    prober = Prober(recipe, parts.train, len(parts.labels), compute, progress)
    probed = _probed(prober, fitting(results), trainer.patience.part_s(_PROBE_SHARE))
    if board and target and known:
        probed = results = with_limits(
            meter.estimate(_front_and(probed, known), board, target, known), limits
        )
    finished = _trained(trainer, timer, probed)
    return _written(plan, merged(results, finished), recipe, out)


def _parts(data: Path, recipe: Recipe) -> Parts:
    """The parts that whole runs have. Raises EdgetlError if the test part is empty."""
    parts = make_parts(data, recipe.split, recipe.seed)
    if not parts.test:
        raise EdgetlError(
            "Candidates are compared on a test part, and there is none.",
            hint="hold some pictures out: --set split.test=0.2",
        )
    return parts


def _pictures_to_read(parts: Parts, recipe: Recipe) -> list[Example]:
    """Some test pictures, without those that cannot be read."""
    chosen = pick_balanced(parts.test, _READ_IMAGES, recipe.seed)
    decoded = read_each(chosen, lambda path: decode(path, max(SIZES_PX)))
    return [example for example, read in decoded if not isinstance(read, DataError)]


def _probed(prober: Prober, results: Sequence[Result], within_s: float | None) -> list[Result]:
    """Probe all candidates on a few hundred pictures, then the better half on more."""
    quick = prober.probe(results, _QUICK_IMAGES, within_s, "probing")
    if prober.count <= _QUICK_IMAGES:
        return quick
    more = prober.probe(keep_half(quick), _PROBE_IMAGES, within_s, "probing the better half")
    return merged(quick, more)


def _front_and(probed: Sequence[Result], known: Known) -> list[Result]:
    """The candidates to emulate: the Pareto front by latency here, and the known one."""
    front = pareto_front(probed)
    return front + [r for r in probed if r.name == known.name and r not in front]


def _trained(trainer: Trainer, timer: Timer, results: Sequence[Result]) -> list[Result]:
    """Train the shortlist briefly, then the best wholly; returns all candidates."""
    results, listed = timer.shortlist(results)
    for number, result in enumerate(listed, 1):
        if not trainer.affords(result, _SHARE):
            trainer.progress.say(f"{result.name}: training would take too long (--minutes)")
            continue
        trainer.progress.say(f"{result.name}: a few epochs ({number} of {len(listed)})")
        results = merged(results, [trainer.brief(result)])
    while True:
        results, following = timer.next_to_train(results, trainer.affords)
        if following is None:
            return results
        trainer.progress.say(f"{following.name}: the whole recipe")
        results = merged(results, [trainer.whole(following)])


def _written(plan: Plan, results: Sequence[Result], recipe: Recipe, out: Path) -> Plan:
    """Decide, and write the plan."""
    picked = pick(results, plan.limits)
    missed = nearest(results) if picked is None else None
    plan = msgspec.structs.replace(
        plan,
        results=tuple(results),
        picked=picked.name if picked else None,
        nearest=missed.name if missed else None,
    )
    make_folder(out)
    chosen = picked or missed
    assert chosen is not None
    write_text(out / RECIPE_FILE, to_yaml(chosen.candidate.recipe(recipe)))
    draw_plan(plan, out / CHART_FILE)
    write_text(out / PLAN_FILE, to_json(plan))
    return plan


def nothing_fits(plan: Plan) -> GateMissedError:
    """The error for a plan in which no candidate keeps to the limits."""
    assert plan.nearest is not None
    missed = plan.result(plan.nearest)
    top1 = estimated_top1(missed, plan.results)
    accuracy = f"top-1 {top1:.1%}, not {plan.limits.min_top1_pct}%"
    return GateMissedError(
        f"No candidate keeps to the limits; the nearest is {missed.name}: "
        f"{'; '.join(missed.over) or accuracy}.",
        hint="loosen a limit, or give more pictures, sizes or networks.",
    )


def _require_free(out: Path, *, resume: bool) -> None:
    if (out / PLAN_FILE).is_file():
        raise EdgetlError(f"'{out}' already holds a plan.", hint="choose another folder with -o.")
    if not resume and out.is_dir() and any(out.iterdir()):
        raise EdgetlError(
            f"'{out}' is not empty.",
            hint="choose another folder with -o, or continue an interrupted choice with --resume.",
        )


def _board(target: DeviceProfile | None, known: Known | None) -> Board | None:
    """The board to emulate for a target; None without a target."""
    if target is None:
        if known:
            raise EdgetlError("A known latency is one on a target.", hint="give --target DEVICE.")
        return None
    if target.name not in BOARDS:
        raise EdgetlError(
            f"'{target.name}' cannot be emulated here, so nothing can be estimated for it.",
            hint=f"these can: {', '.join(BOARDS)}; on any other machine, run choose itself there, "
            "or bench the finished bundles with --on user@host.",
        )
    if known is None:
        raise EdgetlError(
            f"Latencies on {target.name} are estimated from one that was measured there.",
            hint="measure any candidate with `edgetl bench` on the board and give its median: "
            "--known mobilenet_v2@224=38.5",
        )
    return BOARDS[target.name]


def _require_known(known: Known | None, candidates: Sequence[Candidate]) -> None:
    names = [candidate.name for candidate in candidates]
    if known and known.name not in names:
        raise EdgetlError(
            f"'{known.name}', whose latency is known, is not among the candidates.",
            hint=f"name one of: {', '.join(names)}.",
        )
