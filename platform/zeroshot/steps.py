"""Stepwise recognition: the predictions of a model that looks at one place of a picture after the other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from platform.zeroshot.metrics import per_class_accuracy


@dataclass(frozen=True)
class Steps:
    """How N samples are recognised among the U unseen classes with 0 … T looks.

    predictions: (N, T + 1) class indices, 0 … U − 1, after each look, also after the stop; confidences:
    (N, T + 1), the predicted classes' probabilities; taken: (N,) looks until the model stops, 0 … T, whatever the true
    class is; boxes: (N, T, 4) left, top, right and bottom of what is looked at, in pixels of the stored picture.
    """

    predictions: Tensor
    confidences: Tensor
    taken: Tensor
    boxes: Tensor

    @property
    def average(self) -> float:
        """Looks until the stop (ERPCNet, Fig. 4(a))."""
        return self.taken.double().mean().item()

    def held(self) -> Tensor:
        """(N, T + 1) predictions with at most 0 … T looks: a model that has stopped keeps its answer."""
        looks = torch.arange(self.predictions.shape[1], device=self.taken.device).expand_as(self.predictions)
        return self.predictions.gather(1, torch.minimum(looks, self.taken[:, None]))

    def accuracies(self, labels: Tensor) -> Tensor:
        """(T + 1,) means over classes with at most 0 … T looks (ERPCNet, Fig. 5(b)). labels: (N,) in 0 … U − 1."""
        return torch.tensor([per_class_accuracy(held, labels) for held in self.held().T], dtype=torch.float64)

    def failures(self, labels: Tensor) -> Tensor:
        """(N,) the look from which on a sample that was recognised before no longer is; 0: there is none. labels: (N,).

        These are the failures of ERPCNet's Table 3: errors caused by the choice of places.
        """
        right = self.held() == labels[:, None]
        last_right = (right * torch.arange(1, right.shape[1] + 1, device=right.device)).amax(dim=1)  # 0: never
        return torch.where((last_right > 0) & ~right[:, -1], last_right, 0)
