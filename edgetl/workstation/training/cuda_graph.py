"""A training step captured as a CUDA graph, which the host launches by a single call.

A small network's step is hundreds of kernels of a few microseconds each, and launching them one by
one takes the host several times as long as the GPU needs to run them (Nguyen et al. 2021,
"Accelerating PyTorch with CUDA Graphs"). There is one graph for each picture side and batch size.
"""

from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

import torch
from torch import Tensor

from edgetl.core.errors import first_line
from edgetl.core.progress import Progress
from edgetl.workstation.training.batches import StepInputs
from edgetl.workstation.training.step import TrainingStep

# Steps of one shape that run kernel by kernel before it is captured: in them cuDNN chooses its
# algorithms and the optimiser creates its state. They are real steps of the run.
_WARM_UPS = 3


class _Graph(NamedTuple):
    """A captured step, its input tensors, and the tensor that it writes the loss to."""

    graph: torch.cuda.CUDAGraph
    inputs: StepInputs
    loss: Tensor


class CapturedStep:
    """Takes training steps on a GPU, by replaying graphs where possible.

    Attributes:
        possible: False once a capture has failed; steps then run kernel by kernel.
    """

    def __init__(self, step: TrainingStep, progress: Progress) -> None:
        self._step, self._progress = step, progress
        self.possible = True
        self._stream = torch.cuda.Stream()
        self.forget()

    def forget(self) -> None:
        """Drop the graphs, because other parameters are trained from now on."""
        self._graphs: dict[Hashable, _Graph] = {}
        self._taken: Counter[Hashable] = Counter()
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, inputs: StepInputs, side_px: int) -> Tensor:
        """Take a step; see `TrainingStep`. `side_px` is the side of the network's batch."""
        if not self.possible or self._step.at_once < len(inputs.labels):
            return self._step(inputs)
        key = (side_px, *(tensor.shape for tensor in inputs))
        if key not in self._graphs and self._taken[key] >= _WARM_UPS:
            self._capture(key, inputs)
        if key in self._graphs:
            return self._replay(self._graphs[key], inputs)
        self._taken[key] += 1
        return self._warm_up(inputs)

    def _warm_up(self, inputs: StepInputs) -> Tensor:
        """Take a step on the capture's stream: autograd remembers the stream it first ran on."""
        here = torch.cuda.current_stream()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            loss = self._step(inputs)
        here.wait_stream(self._stream)
        return loss

    def _capture(self, key: Hashable, inputs: StepInputs) -> None:
        """Capture the step without taking it; if that fails, no further step is captured."""
        here = torch.cuda.current_stream()
        fixed = StepInputs(*(tensor.clone() for tensor in inputs))
        graph = torch.cuda.CUDAGraph()
        self._step.drop_gradients()  # so that the graph allocates its own
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                loss = self._step.take(fixed)
        except RuntimeError as error:  # including out of memory
            self.possible = False
            self.forget()
            torch.cuda.set_stream(here)
            self._step.drop_gradients()
            torch.cuda.empty_cache()
            self._progress.say(
                "the training step cannot be captured as a CUDA graph and runs kernel by kernel, "
                f"which is slower: {first_line(error)}"
            )
            return
        self._graphs[key] = _Graph(graph, fixed, loss)

    def _replay(self, captured: _Graph, inputs: StepInputs) -> Tensor:
        for fixed, given in zip(captured.inputs, inputs, strict=True):
            fixed.copy_(given)
        captured.graph.replay()
        return captured.loss.clone()  # the next replay overwrites it
