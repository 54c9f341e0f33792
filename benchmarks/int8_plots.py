"""Draws what int8 does to a run's network: activation ranges, weight ranges, and layers.

    python benchmarks/int8_plots.py RUN -o docs/images [--calibration PICTURES]

Writes four SVG files, which docs/explanation/int8.md shows, and prints the figures behind them:

- int8-activations.svg: how large each activation gets on each calibration picture, and the range
  that edgetl chooses;
- int8-weights.svg: the largest weight of every channel of the layers whose channels differ most;
- int8-steps.svg: the error of the logits after each step of the plan, from a plain
  quantization to the whole plan;
- int8-layers.svg: the error of the logits if only one layer is int8.
"""

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, fx, inference_mode

from edgetl.bundle.reports import LayerSensitivity
from edgetl.core.progress import Silent
from edgetl.data.split import SPLITS_FILE, pick_balanced, read_split
from edgetl.evaluation.metrics import expected_drop
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.backbones.checkpoint import load_checkpoint
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.graph.nodes import NodeObserver, layers, logits_of, stacked
from edgetl.workstation.export.int8.equalization import equalize_channels
from edgetl.workstation.export.int8.fake_quantize import fake_quantize
from edgetl.workstation.export.int8.plan import plan_by_ranges
from edgetl.workstation.export.int8.quantization_points import find_points
from edgetl.workstation.export.int8.ranges import QuantParams, RangeObserver
from edgetl.workstation.export.int8.rounding import nearest_steps, round_weights
from edgetl.workstation.export.int8.sensitivity import measure_sensitivities, signal_to_noise_db
from edgetl.workstation.export.pictures import calibration_pixels, choose_pictures, prepared

_HELD_OUT = 400
_LAYERS = 3
_SHOWN = 20
_BLUE, _ORANGE, _GREY = "#1f77b4", "#d95f02", "#999999"


class Step(NamedTuple):
    """A way to quantize, and what it costs on held-out pictures."""

    name: str
    snr_db: float
    expected_drop_pp: float
    agreement: float


class Network(NamedTuple):
    """A run's float network, its calibration pictures and its held-out ones."""

    graph: DeployGraph
    calibration: list[Pixels]
    held_out: list[Pixels]
    temperature: float


def open_run(run: Path, calibration: Path | None) -> Network:
    """The network as it is deployed in float, and its pictures."""
    network, facts = load_checkpoint(run)
    spec = facts.preprocess
    size = (spec.size_px, spec.size_px)
    chosen = choose_pictures(read_split(run / SPLITS_FILE), calibration)
    return Network(
        DeployGraph(network.model, mean=spec.mean, std=spec.std, size=size),
        calibration_pixels(chosen, spec, Silent()),
        prepared(pick_balanced(chosen.held_out.examples, _HELD_OUT, 0), spec),
        facts.temperature,
    )


def largest_values(graph: DeployGraph, pictures: Sequence[Pixels]) -> dict[str, list[float]]:
    """The largest value of each rounded activation on each picture."""
    points = find_points(graph, pictures[0])
    found: dict[str, list[float]] = {}

    def see(node: fx.Node, value: Any) -> Any:
        if node.name in points and isinstance(value, Tensor):
            found.setdefault(node.name, []).append(float(value.max()))
        return value

    _observe(graph, pictures, see)
    return found


def choose_params(
    graph: DeployGraph, pictures: Sequence[Pixels], *, clipped: bool
) -> dict[str, QuantParams]:
    """Each activation's range: of least error if `clipped`, else from the smallest value to the
    largest of all pictures, as the logits' range is always.
    """
    points = find_points(graph, pictures[0])
    observer = RangeObserver()

    def see(node: fx.Node, value: Any) -> Any:
        if node.name in points:
            observer.see(points[node.name], value.numpy())
        return value

    _observe(graph, pictures, see)
    logits = points[list(points)[-1]]
    ranges = {group: observer.widest(group) for group in points.values()}
    if clipped:
        ranges = observer.ranges() | {logits: observer.widest(logits)}
    params = {name: QuantParams.covering(*ranges[group]) for name, group in points.items()}
    if graph.pixel_zero is not None:
        params[next(iter(points))] = QuantParams(graph.pixel_step, graph.pixel_zero)
    return params


def _observe(
    graph: DeployGraph, pictures: Sequence[Pixels], see: Callable[[fx.Node, Any], Any]
) -> None:
    for picture in pictures:
        with inference_mode():
            NodeObserver(graph.backbone, see).run(graph.normalised(stacked([picture])))


def to_nearest(graph: DeployGraph, *, per_channel: bool) -> DeployGraph:
    """A copy whose weights are rounded to the nearest step, of each channel or of each layer."""
    graph = copy.deepcopy(graph)
    with inference_mode():
        for layer in layers(graph.backbone).values():
            weight = layer.weight if per_channel else layer.weight.reshape(1, -1)
            layer.weight.copy_(nearest_steps(weight).reshape(layer.weight.shape))
    return graph


def steps(network: Network) -> list[Step]:
    """The error of the logits, from a plain quantization to edgetl's plan, a change at a time."""
    graph, pictures, held_out, temperature = network
    whole = graph.with_whole_pixels()
    even = equalize_channels(whole, pictures)
    ways = (
        ("a weight step for each layer, min-max ranges", to_nearest(graph, per_channel=False), 0),
        ("+ a weight step for each channel", to_nearest(graph, per_channel=True), 0),
        ("+ pixels as they are", to_nearest(whole, per_channel=True), 0),
        ("+ ranges of least error", to_nearest(whole, per_channel=True), 1),
        ("+ channels equalized", to_nearest(even, per_channel=True), 1),
        ("+ weights rounded together (GPTQ)", round_weights(even, pictures), 1),
    )
    reference = logits_of(graph, held_out)
    found = []
    for name, rounded, clipped in ways:
        params = choose_params(rounded, pictures, clipped=bool(clipped))
        logits = logits_of(fake_quantize(rounded, params), held_out)
        same = float((logits.argmax(1) == reference.argmax(1)).mean())
        lost = 100 * float(expected_drop(logits, reference, temperature).mean())
        found.append(Step(name, signal_to_noise_db(reference, logits), lost, same))
    return found


def draw_activations(
    values: Mapping[str, Sequence[float]], params: Mapping[str, QuantParams], axes: Axes
) -> None:
    """For each activation the largest value of each picture, and the upper end of its range."""
    shown = [name for name in values if name in params and max(values[name]) > 0]
    for x, name in enumerate(shown):
        own = np.array(values[name])
        axes.plot([x, x], [own.min(), own.max()], color=_GREY, linewidth=1, zorder=1)
        axes.plot([x], [np.median(own)], "_", color=_BLUE, markersize=6, zorder=2)
        axes.plot([x], [params[name].high], "o", color=_ORANGE, markersize=3, zorder=3)
    axes.plot([], [], color=_GREY, label="largest value on each of the calibration pictures")
    axes.plot([], [], "_", color=_BLUE, label="the median of these")
    axes.plot([], [], "o", color=_ORANGE, markersize=3, label="upper end of the chosen range")
    axes.set(xlabel="activation, from the first layer to the last", ylabel="value")
    axes.legend(frameon=False, fontsize=8)


def draw_weights(graph: DeployGraph, figure: Figure) -> list[tuple[str, float]]:
    """The channels' largest weights in the layers where these differ most; the ratios."""
    peaks = {
        name: np.sort(layer.weight.detach().flatten(1).abs().amax(1).numpy())[::-1]
        for name, layer in layers(graph.backbone).items()
    }
    ratios = {name: float(own[0] / max(np.median(own), 1e-12)) for name, own in peaks.items()}
    uneven = sorted(ratios, key=lambda name: -ratios[name])[:_LAYERS]
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(uneven))), uneven, strict=True):
        own = peaks[name]
        axes.plot(own, color=_BLUE)
        axes.axhline(own[0] / 127, color=_ORANGE, linewidth=1)
        axes.set_yscale("log")
        axes.set_title(f"{name}: largest / median {ratios[name]:.0f}", fontsize=8)
        axes.set_xlabel("channels, sorted", fontsize=8)
    figure.axes[0].set_ylabel("largest weight of a channel", fontsize=8)
    figure.axes[0].plot([], [], color=_ORANGE, label="one step, if the layer shares it")
    figure.axes[0].legend(frameon=False, fontsize=7)
    return [(name, ratios[name]) for name in uneven]


def draw_steps(found: Sequence[Step], axes: Axes) -> None:
    """A bar for each step: the logits' signal-to-noise ratio."""
    bars = axes.barh([step.name for step in found], [step.snr_db for step in found], color=_BLUE)
    axes.bar_label(bars, [f"{step.snr_db:.1f}" for step in found], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("signal-to-noise ratio of the logits, dB: longer is better")


def draw_layers(sensitivities: Sequence[LayerSensitivity], axes: Axes) -> None:
    """A bar for each of the worst activations, alone in int8."""
    worst = sensitivities[:_SHOWN]
    bars = axes.barh([s.activation for s in worst], [s.snr_db for s in worst], color=_BLUE)
    axes.bar_label(bars, [f"{s.snr_db:.0f}" for s in worst], padding=3, fontsize=7)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(x=0.1, y=0.02)
    axes.set_xlabel("signal-to-noise ratio of the logits, dB: shorter costs more")


def save(figure: Figure, path: Path) -> None:
    """Write an SVG whose bytes depend on the figure alone, on white for dark pages."""
    with matplotlib.rc_context({"svg.hashsalt": "edgetl", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--calibration", type=Path)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    network = open_run(given.run, given.calibration)
    plan = plan_by_ranges(network.graph.with_whole_pixels(), network.calibration)

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    values = largest_values(plan.graph, network.calibration)
    draw_activations(values, plan.params, figure.subplots())
    save(figure, given.out / "int8-activations.svg")

    figure = Figure(figsize=(8, 2.6), layout="constrained")
    ratios = draw_weights(network.graph, figure)
    save(figure, given.out / "int8-weights.svg")

    found = steps(network)
    figure = Figure(figsize=(8, 2.2), layout="constrained")
    draw_steps(found, figure.subplots())
    save(figure, given.out / "int8-steps.svg")

    sensitivities = measure_sensitivities(plan, network.held_out, Silent())
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    draw_layers(sensitivities, figure.subplots())
    save(figure, given.out / "int8-layers.svg")

    print(f"{len(network.calibration)} calibration pictures, {len(network.held_out)} held out")
    print("\n| step | dB | expected drop | agreement |\n| --- | ---: | ---: | ---: |")
    for step in found:
        lost = f"{step.snr_db:.1f} | {step.expected_drop_pp:.2f} | {step.agreement:.1%}"
        print(f"| {step.name} | {lost} |")
    print("\n| layer | largest / median weight |\n| --- | ---: |")
    for name, ratio in ratios:
        print(f"| {name} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
