"""A small network with the layers that the catalogue's backbones are made of, and its engines."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import openvino
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import Tensor, nn

from edgetl.runtime.engines.onnxruntime import session_options
from edgetl.runtime.processor import int8_may_saturate
from edgetl.workstation.export.artifacts import engine_logits, load_measuring_engine
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.int8.constraints import QuantizationConstraints

Runner = Callable[[tuple[bytes, ...], np.ndarray], np.ndarray]

SIZE = 32
CLASSES = 5
# As `edgetl export` has it: without VNNI OpenVINO overflows on weights of 8 bits.
CONSTRAINTS = QuantizationConstraints(reduced_range=int8_may_saturate())
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _block(inputs: int, outputs: int, kernel: int, groups: int, act: nn.Module) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(outputs)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias, std=0.3)
    norm.running_mean = 0.1 * torch.randn(outputs)
    norm.running_var = 0.5 + torch.rand(outputs)
    return nn.Sequential(conv, norm, act)


class TinyNet(nn.Module):
    """Stem, depthwise-separable residual block, squeeze-and-excite, hard swish, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.expand = _block(16, 32, 1, 1, nn.ReLU6())
        self.depthwise = _block(32, 32, 3, 32, nn.ReLU6())
        self.project = _block(32, 16, 1, 1, nn.Identity())
        self.squeeze = nn.Conv2d(16, 16, 1)
        self.head = _block(16, 64, 1, 1, nn.Hardswish())
        self.classify = nn.Linear(64, CLASSES)

    def forward(self, picture: Tensor) -> Tensor:
        x = self.stem(picture)
        x = x + self.project(self.depthwise(self.expand(x)))
        x = x * torch.sigmoid(self.squeeze(x.mean((2, 3), keepdim=True)))
        return self.classify(self.head(x).mean((2, 3)))


CONVOLUTIONS = 6


def make_backbone() -> nn.Module:
    torch.manual_seed(0)
    net = TinyNet().eval()
    nn.init.normal_(net.classify.weight)
    return net


def make_graph(backbone: nn.Module) -> DeployGraph:
    return DeployGraph(backbone, mean=MEAN, std=STD, size=(SIZE, SIZE))


def make_pictures() -> np.ndarray:
    """Soft colour fields, uint8 [40, 32, 32, 3]."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (40, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    noise = generator.normal(0, 10, (40, SIZE, SIZE, 3))
    return np.clip(coarse + noise, 0, 255).astype(np.uint8)


def torch_logits(graph: nn.Module, pictures: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return graph(torch.from_numpy(pictures)).numpy()


def run_onnx(files: tuple[bytes, ...], pictures: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        files[0], session_options(1, "cpu"), providers=["CPUExecutionProvider"]
    )
    (entry,), (exit_,) = session.get_inputs(), session.get_outputs()
    assert (entry.name, entry.type, entry.shape) == ("pixels", "tensor(uint8)", [1, SIZE, SIZE, 3])
    assert (exit_.name, exit_.type, exit_.shape) == ("logits", "tensor(float)", [1, CLASSES])
    return np.concatenate([session.run(None, {"pixels": p[None]})[0] for p in pictures])


def run_openvino(files: tuple[bytes, ...], pictures: np.ndarray) -> np.ndarray:
    core = openvino.Core()
    model = core.read_model(model=files[0], weights=files[1])
    assert model.input("pixels").element_type == openvino.Type.u8
    assert list(model.input(0).shape) == [1, SIZE, SIZE, 3]
    assert model.output("logits").element_type == openvino.Type.f32
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([compiled([p[None]])[0].copy() for p in pictures])


def run_tflite(files: tuple[bytes, ...], pictures: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=files[0])
    interpreter.allocate_tensors()
    (entry,), (exit_,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (entry["dtype"], list(entry["shape"])) == (np.uint8, [1, SIZE, SIZE, 3])
    assert (exit_["dtype"], list(exit_["shape"])) == (np.float32, [1, CLASSES])
    logits = []
    for picture in pictures:
        interpreter.set_tensor(entry["index"], picture[None])
        interpreter.invoke()
        logits.append(interpreter.get_tensor(exit_["index"]))
    return np.concatenate(logits)


def run_engine(name: str) -> Runner:
    """Runs a format that another package has added, in the engine that it is measured with."""

    def run(files: tuple[bytes, ...], pictures: np.ndarray) -> np.ndarray:
        return engine_logits(load_measuring_engine(name, files), list(pictures))

    return run


RUNNERS: dict[str, Runner] = {name: run_engine(name) for name in FORMATS} | {
    "onnx": run_onnx,
    "openvino": run_openvino,
    "tflite": run_tflite,
}
