"""What ERPCNet's policy adds on networks that are trained: `python -m benchmarks.erpcnet_policy RUN …`.

RUN: folders of `platform.train methods.erpcnet` with sampler=policy. Everything is measured on the test pictures of the
unseen classes, among these, with the clean protocol's models. Networks trained apart differ by their seeds more
than policies do; so the cells of the policy and random ones, as PCNet draws them, are walked on the same network:

- accuracy without a look, and after T looks;
- looks and accuracy at the stop, for thresholds σ from 0.1 to 1.1 (Fig. 5), whatever the policy was trained with.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.record import keep
from methods.erpcnet import ERPCNetModel
from methods.erpcnet.walks import Walk
from platform.training.tested import model_and_samples
from platform.training.trainable import read_outcomes
from platform.zeroshot.metrics import per_class_accuracy

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    found: dict[bool, list[tuple[dict[str, float], dict[str, float]]]] = {True: [], False: []}
    for run in asked.runs:
        for outcome in read_outcomes(run) or ():
            model, samples, _ = model_and_samples(run / outcome.models["clean"])
            unseen = samples.where(samples.labels >= len(model.seen))
            labels = unseen.labels - len(model.seen)
            own = (measured(m, unseen.features, labels) for m in (model, replace(model, policy={})))
            found[model.config.entropy].append(tuple(own))
    rows = [
        [name, measure, str(len(pairs)), *compared(pairs, measure)]
        for name, pairs in (("ERPCNet", found[True]), ("RPCNet", found[False]))
        for measure in (pairs[0][0] if pairs else ())
    ]
    keep(
        "erpcnet-policy",
        "ERPCNet: the policy's cells against random ones on the same networks",
        ["model", "measured", "models", "policy", "random cells", "difference"],
        rows,
        [f"Runs: {len(asked.runs)}. Accuracies in %, means over classes; mean, and ± standard deviation over models."],
    )


def measured(model: ERPCNetModel, x: Tensor, labels: Tensor) -> dict[str, float]:
    """By name; accuracies in percent. x: (N, D) pictures of unseen classes; labels: (N,) in 0 … U − 1."""
    walk, semantics, entropy = model.walk(x), model.semantics[len(model.seen) :], model.config.entropy
    values = {
        "accuracy without a look": accuracy(walk, semantics, torch.zeros_like(labels), labels),
        "accuracy after T looks": accuracy(walk, semantics, torch.full_like(labels, walk.cells.shape[1]), labels),
    }
    for sigma in THRESHOLDS:
        ends = walk.ends(semantics, sigma, entropy)
        values[f"accuracy at the stop, σ = {sigma}"] = accuracy(walk, semantics, ends, labels)
        values[f"looks until the stop, σ = {sigma}"] = ends.double().mean().item()
    return values


def accuracy(walk: Walk, semantics: Tensor, ends: Tensor, labels: Tensor) -> float:
    """Percent, mean over classes, where walks take ends (N,) looks."""
    predicted = walk.predictions(semantics)[torch.arange(len(ends)), ends.cpu()].argmax(dim=1)
    return 100 * per_class_accuracy(predicted, labels)


def compared(pairs: Sequence[tuple[dict[str, float], dict[str, float]]], measure: str) -> list[str]:
    """The policy's mean, the random cells', and the mean and deviation of their differences."""
    policy, random = torch.tensor([[own[measure] for own in pair] for pair in pairs], dtype=torch.float64).T
    gained = policy - random
    spread = f" ± {gained.std():.2f}" if len(pairs) > 1 else ""
    return [f"{policy.mean():.2f}", f"{random.mean():.2f}", f"{gained.mean():+.2f}{spread}"]


if __name__ == "__main__":
    main()
