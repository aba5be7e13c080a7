import torch

from platform import workers
from platform.workers import Workers


def test_tensors_are_averaged_in_place_and_sent_together(monkeypatch):
    """The other worker's tensors are here this one's, each number 2 larger: the mean is 1 larger."""
    sent = []

    def all_reduce(tensor, op):
        assert op is torch.distributed.ReduceOp.SUM
        sent.append(tensor.numel())
        tensor += tensor + 2

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(workers, "_TOGETHER", 64)
    tensors = [torch.randn(shape) for shape in [(2, 3), (4,), (), (5, 5), (3,)]]
    tensors += [torch.randn(2, dtype=torch.float64), torch.randn(3, 4).T]
    before = [tensor.clone() for tensor in tensors]
    found = Workers(torch.device("cpu"), 1, 2).average(tensors)
    for tensor, own, old in zip(found, tensors, before, strict=True):
        assert tensor is own
        torch.testing.assert_close(tensor, old + 1)
    assert sent == [11, 25, 3, 2, 12]
    Workers(torch.device("cpu")).average(tensors)
    assert len(sent) == 5
