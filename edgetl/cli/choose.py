"""`edgetl choose`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.completion import backbones as backbone_names
from edgetl.cli.completion import devices, names, recipes
from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.options import POSITIVE, threads_option
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.workstation.choosing.costs import Known
    from edgetl.workstation.choosing.results import Accuracy, Limits, Plan, Result


@click.command(
    "choose",
    cls=SectionedCommand,
    sections={
        "Limits": ("--max-latency", "--max-size", "--min-top1"),
        "Candidates": ("--backbone", "--weights", "--sizes", "--recipe", "--set"),
        "Device": ("--target", "--known", "--threads", "--device"),
        "Plan": ("--out", "--minutes", "--resume"),
    },
    epilog=examples(
        "edgetl choose photos/ -o plan --max-latency 5",
        "edgetl choose photos/ -o plan --min-top1 90",
        "edgetl choose photos/ -o plan --weights timm:resnet18=w.safetensors",
    ),
)  # fmt: skip
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path),
              help="The folder of the plan.")  # fmt: skip
@click.option("--max-latency", type=POSITIVE, metavar="MS",
              help="The most that the p90 from picture file to prediction may be.")  # fmt: skip
@click.option("--max-size", type=POSITIVE, metavar="MB", help="Only int8 artifacts up to MB.")
@click.option("--min-top1", type=click.FloatRange(0, 100), metavar="PCT",
              help="The fastest candidate that reaches this top-1 on the test part.")  # fmt: skip
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    metavar="NAME",
    shell_complete=names(backbone_names),
    help="Consider this network; can be repeated.  [default: all whose weights can be had]",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="NAME=FILE",
    help="A network's weights file, e.g. timm:mobilenetv3_small_100=w.safetensors.",
)
@click.option("--sizes", default=None, metavar="PX,PX",
              help="Picture sizes.  [default: 96,128,160,192,224,256,288]")  # fmt: skip
@click.option(
    "-r",
    "--recipe",
    default=None,
    metavar="RECIPE",
    shell_complete=names(recipes, or_file=True),
    help="What candidates are trained with.  [default: edge-fast]",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              help="Set any key of the recipe; may be repeated.")  # fmt: skip
@click.option(
    "--target",
    default=None,
    metavar="DEVICE",
    shell_complete=names(devices),
    help="Estimate latencies for this board, by emulating it; needs --known.",
)
@click.option(
    "--known",
    default=None,
    metavar="NAME=MS",
    help="A candidate's median latency that you measured on the target, e.g. "
    "mobilenet_v2@224=38.5.",
)
@threads_option("as many as run would use")
@click.option("--device", default="auto", metavar="NAME",
              help="What to train on: auto, cpu, cuda, cuda:N or mps.")  # fmt: skip
@click.option(
    "--minutes",
    type=POSITIVE,
    default=25.0,
    show_default=True,
    help="Probe and train only what should be done in this time.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted choice.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as one JSON document.")
@wide_option
def command(
    data: Path,
    out: Path,
    max_latency: float | None,
    max_size: float | None,
    min_top1: float | None,
    backbones: tuple[str, ...],
    weights: tuple[str, ...],
    sizes: str | None,
    recipe: str | None,
    settings: tuple[str, ...],
    target: str | None,
    known: str | None,
    threads: int | None,
    minutes: float,
    device: str,
    resume: bool,
    as_json: bool,
) -> None:
    """Choose a network and a picture size for the pictures in DATA.

    Every network whose weights can be had is timed in int8 at its smallest and largest picture
    size, with random weights, and compared at all sizes by a linear probe of its features. The
    better half is probed on more pictures, up to four candidates are trained for a few epochs, and
    up to two by the whole recipe. The plan folder gets plan.json, plan.png, recipe.yaml of the
    pick, and the finished runs in runs/.

    With --min-top1 the fastest candidate that reaches it is picked; with other limits the most
    accurate one; without any limit the fastest that loses at most a point against the most
    accurate. If no candidate keeps to the limits, the nearest is named and the exit code is 3.

    Latencies are those from picture file to prediction on this machine, with pictures of DATA, as
    bench and export limit them. With --target they are those of the inference alone, estimated
    from the number of instructions on an emulated board, and from one that you measured on the
    real one (--known).
    """
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import print_json
    from edgetl.devices.profiles import load_device
    from edgetl.workstation.choosing.choose import DEFAULT_CHOICE_RECIPE, choose, nothing_fits
    from edgetl.workstation.choosing.results import Limits
    from edgetl.workstation.user_recipe import user_recipe

    plan = choose(
        data,
        out,
        user_recipe(recipe or DEFAULT_CHOICE_RECIPE, settings),
        limits=Limits(max_latency_ms=max_latency, max_size_mb=max_size, min_top1_pct=min_top1),
        backbones=backbones,
        weights=dict(_pair("--weights", item) for item in weights),
        sizes_px=_sizes(sizes),
        target=load_device(target) if target else None,
        known=_known(known),
        threads=threads,
        minutes=minutes,
        resume=resume,
        device=device,
        progress=make_progress(),
    )
    if as_json:
        print_json(plan)
    else:
        click.echo(_text(plan, out))
    if plan.picked is None:
        raise nothing_fits(plan)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise click.UsageError(f"{option} '{text}' is not NAME=VALUE.")
    return name, value


def _sizes(text: str | None) -> tuple[int, ...]:
    """The picture sizes of --sizes in px, each once."""
    from edgetl.bundle.preprocessing import MAX_SIDE_PX
    from edgetl.workstation.choosing.candidates import SIZES_PX

    if text is None:
        return SIZES_PX
    sizes = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if not all(16 <= size <= MAX_SIDE_PX for size in sizes):
        raise click.UsageError(
            f"--sizes '{text}': give sizes of 16 to {MAX_SIDE_PX} px, e.g. 128,224"
        )
    return tuple(dict.fromkeys(sizes))


def _known(text: str | None) -> "Known | None":
    """The candidate and latency of --known."""
    from edgetl.workstation.choosing.costs import Known

    if text is None:
        return None
    name, value = _pair("--known", text)
    try:
        p50_ms = float(value)
    except ValueError:
        p50_ms = 0.0
    if not 0 < p50_ms < float("inf"):
        raise click.UsageError(f"--known '{text}': '{value}' is not a latency in ms.")
    return Known(name, p50_ms)


def _text(plan: "Plan", out: Path) -> str:
    """A line for each candidate, fastest first, and what to run next."""
    from edgetl.cli.show import between, paragraph, percent, table
    from edgetl.workstation.choosing.decide import pareto_front

    probed = [result for result in plan.results if result.probe]
    front = {result.name for result in pareto_front(probed)}
    rows = [
        (("* " if result.name in front else "  ") + result.name, *_figures(result, plan.limits))
        for result in plan.results
    ]
    unit = "ms, est." if plan.target else "ms"
    header = ("candidate", "int8", "MB", f"p50 {unit}", f"p90 {unit}", "probe %", "brief %",
              "test %")  # fmt: skip
    lines = [
        table(header, rows),
        paragraph(
            "* on the Pareto front. ~ between two sizes that were timed. ! over the limit. probe: "
            "linear probe, cross-validated; brief: a quarter of the epochs, on a fifth of the "
            "training pictures; test: the whole recipe, on the test part."
        ),
    ]
    lines += _left_out(plan)
    if plan.picked:
        picked = plan.result(plan.picked)
        assert picked.whole
        lines.append(
            f"picked: {picked.name}, test top-1 {percent(picked.whole.top1)} % "
            f"({between(picked.whole.interval)})"
        )
        lines.append(f"plot: {out / 'plan.png'}")
        format_ = picked.cost.artifact.removesuffix("-int8")
        run = out / (picked.run or "")
        lines.append(f"next: edgetl export {run} -o model.edgetl --int8 --format {format_}")
    return "\n".join(lines)


def _left_out(plan: "Plan") -> list[str]:
    """The networks that could not take part; plan.json has the reason of each."""
    from edgetl.cli.show import paragraph

    missing = [item.name for item in plan.left_out if item.weights_missing]
    others = [item for item in plan.left_out if not item.weights_missing]
    lines = [paragraph(f"left out: {item.name}: {item.reason}") for item in others[:20]]
    if missing:
        lines.append(
            paragraph(
                f"left out, because their weights cannot be obtained: {', '.join(missing)}. "
                "plan.json says why; --weights NAME=FILE takes a file."
            )
        )
    return lines


def _figures(result: "Result", limits: "Limits") -> tuple[str, ...]:
    """The cells of a candidate's costs and scores."""
    from edgetl.cli.show import mb, ms

    cost = result.cost
    about = "~" if cost.source == "interpolated" else ""
    return (
        cost.artifact.removesuffix("-int8"),
        mb(cost.bytes) + "!" * limits.too_large(cost),
        about + ms(cost.p50_ms),
        about + ms(cost.p90_ms) + "!" * limits.too_slow(cost),
        _score(result.probe),
        _score(result.brief),
        _score(result.whole),
    )


def _score(score: "Accuracy | None") -> str:
    from edgetl.cli.show import percent

    return percent(score.top1) if score else "-"
