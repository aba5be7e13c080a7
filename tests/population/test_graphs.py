import logging

import torch

from platform.population.graphs import Replayed


def counting(total, calls):
    def step(kind, x):
        calls.append(kind)
        total.add_(x)
        return total * kind

    return step


def test_without_a_gpu_a_step_is_simply_called():
    total, calls = torch.zeros(3), []
    replayed = Replayed(counting(total, calls), [total], torch.device("cpu"))
    assert replayed(2, torch.ones(3)).tolist() == [2, 2, 2]
    assert replayed(1, torch.ones(3)).tolist() == [2, 2, 2]
    assert calls == [2, 1]


def test_a_step_that_cannot_be_captured_is_called_and_said(monkeypatch, caplog):
    total, calls = torch.zeros(3), []
    replayed = Replayed(counting(total, calls), [total], torch.device("cuda"))

    def captured(self, kind, inputs):
        raise RuntimeError("operation not permitted when stream is capturing\nand much more")

    monkeypatch.setattr(Replayed, "_captured", captured)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            replayed(2, torch.ones(3))
    assert calls == [2, 2]
    assert total.tolist() == [2, 2, 2]
    assert [r.getMessage() for r in caplog.records] == [
        "steps are not replayed as a CUDA graph: operation not permitted when stream is capturing"
    ]
