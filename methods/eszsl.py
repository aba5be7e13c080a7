"""ESZSL: an embarrassingly simple approach to zero-shot learning (Romera-Paredes and Torr, ICML 2015).

A bilinear compatibility xᵀ W s of a sample's features and a class's text, whose W is one formula:

    W = (XᵀX + γI)⁻¹ Xᵀ Y S (SᵀS + λI)⁻¹

with the features X (N, D), the targets Y (N, S) and the seen classes' text S (S, T). γ penalises the classes' weights
in the features' space, λ the samples' in the text's, and γλ those of W. Both are chosen from 10⁻³ … 10³ on classes that
are held out. Y is one at a sample's class, and elsewhere minus one in the paper, zero in its released code. We take the
code's: with minus ones and without an intercept, the sum of all classes' text weighs on every score unless features are
around zero (on small test data up to 70 % where zeros have 90 to 100).

What it wants of its inputs, as measured on Animals with Attributes (histograms under PCA, the official ten unseen
classes; the best of all γ and λ is 40 to 42 % throughout):

- Class text at length 1 each, which the module does itself: 41 to 42 % with λ = 0.1, a point less with λ = 1.
  Attributes divided by a hundred or standardised want λ = 1, and are up to a point and a half below. (Sentence vectors
  are more alike, and want λ = 1: with 0.1 the five unseen actions of UTD-MHAD's ru5 fall from 39 to 23 %.)
- Features of any scale, which γ follows: it stands beside XᵀX, whose trace is the sum of all squared lengths. The best
  is 10 on features as published (of lengths about 1), 10³ where their root mean square is 1, and beyond the paper's
  grid, 10⁴, where each dimension is standardised; a power of ten less costs a point at most.
- `--normalise minmax` needs targets=zero: with minus ones it is 2 points lower, and up to 20 with centred attributes.

The products are the scores of seen and unseen classes alike, so that they can be stacked (the default here) or compared
as they are (combination=joint, as Xian et al. report it; nearly all samples then go to seen classes).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from methods.closed_form import ClosedFormConfig, ClosedFormMethod, ClosedFormModel, Decomposition, Solution


class ESZSLConfig(ClosedFormConfig):
    """Hyperparameters of ESZSL; the paper gives a grid, of which the defaults are the middle."""

    gamma: float = Field(
        1.0, gt=0, description="γ, penalty in the features' space, a power of ten (the closed form; 10⁻³ … 10³)"
    )
    lambda_: float = Field(
        1.0, gt=0, description="λ, penalty in the text's space, a power of ten (the closed form; 10⁻³ … 10³)"
    )
    targets: Literal["zero", "minus_one"] = Field(
        "zero", description="Y where a sample is not of a class: zero (released), or minus one (paper)"
    )


@dataclass(frozen=True)
class ESZSLModel(ClosedFormModel):
    """A solved ESZSL; a class's place is its text, at length 1."""

    Config = ESZSLConfig

    def class_places(self, semantics: Tensor) -> Tensor:
        return normalize(semantics, dim=1)

    def products(self, x: Tensor, places: Tensor) -> Tensor:
        return self.layer("map", x) @ places.T / self.config.temperature


class ESZSL(ClosedFormMethod):
    """The method; see the module."""

    Config = ESZSLConfig
    Model = ESZSLModel
    centred = False
    citation = """@inproceedings{romeraparedes2015eszsl,
  title = {An Embarrassingly Simple Approach to Zero-Shot Learning},
  author = {Romera-Paredes, Bernardino and Torr, Philip H. S.},
  booktitle = {International Conference on Machine Learning (ICML)},
  year = {2015}
}"""

    def solve(self, config: ESZSLConfig, features: Decomposition, text: Tensor) -> Solution:
        own = torch.eye(len(text)).to(text)
        targets = own if config.targets == "zero" else 2 * own - 1  # a row of Y for each class
        # S(SᵀS + λI)⁻¹ = (SSᵀ + λI)⁻¹S, which is as large as there are classes
        of_text = torch.linalg.solve(text @ text.T + config.lambda_ * own, text)
        weights = features.solution(targets @ of_text, config.gamma)
        error = features.error(weights @ text.T, targets)
        return Solution(weights, weights.new_zeros(weights.shape[1]), error)


method = ESZSL()
