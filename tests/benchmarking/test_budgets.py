import numpy as np

from edgetl.benchmarking.budgets import Budgets, over_budget
from edgetl.benchmarking.latency import summarise
from tests.benchmarking.rows import row


def test_what_is_within_its_budget_misses_nothing() -> None:
    assert over_budget([row(), row()], Budgets(55.0, 4.0, 100.0)) == []
    assert over_budget([row(10_000.0)], Budgets()) == []


def test_every_miss_is_named_with_how_much_it_misses_by() -> None:
    large = row(artifact="onnx-fp32", bytes=14_000_000, peak_memory_bytes=151_250_000)
    assert over_budget([row(), large], Budgets(50.0, 5.0, 150.0)) == [
        "onnx-int8 through onnxruntime 1.31.1: inference p90 54.00 ms, 4.00 over --max-latency 50",
        "onnx-fp32 through onnxruntime 1.31.1: inference p90 54.00 ms, 4.00 over --max-latency 50",
        "onnx-fp32 through onnxruntime 1.31.1: size 14.00 MB, 9.00 over --max-size 5",
        "onnx-fp32 through onnxruntime 1.31.1: peak memory 151.25 MB, 1.25 over --max-memory 150",
    ]


def test_where_pictures_were_timed_the_latency_is_that_of_the_whole_answer() -> None:
    slow = row(end_to_end=summarise(np.full(200, 80.0)))
    assert over_budget([slow], Budgets(max_latency_ms=75.0)) == [
        "onnx-int8 through onnxruntime 1.31.1: picture-to-prediction p90 80.00 ms, "
        "5.00 over --max-latency 75"
    ]
