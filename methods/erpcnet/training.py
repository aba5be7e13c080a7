"""A member of ERPCNet in training: stage I, the networks with regions at random; stage II is `policy_training`."""

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from methods.erpcnet.config import ERPCNetConfig
from methods.erpcnet.losses import LOSSES, losses
from methods.erpcnet.model import ERPCNetModel
from methods.erpcnet.network import fresh_network, network_of
from methods.erpcnet.pictures import augmented, in_batches, normalised, stored_side
from methods.erpcnet.policy_training import PolicyTraining
from platform.method import Learner, Member, tensors_of
from platform.population.draws import generator, named_draws, shuffled_rows
from platform.workers import Workers


class LocalityLearner(Learner):
    """A member's network, optimiser and policy, and how far it is.

    A member whose losses are no longer finite is left as it is.
    """

    def __init__(self, member: Member, workers: Workers) -> None:
        self.config: ERPCNetConfig = member.config
        self.task, self.seed, self.workers = member.task, member.seed, workers
        stored_side(self.task.features, self.config.side)  # raises where they are no pictures
        state, width = member.state, self.task.semantics.shape[1]
        if state:
            weights = {name: t.to(workers.device, copy=True) for name, t in tensors_of(state, "weights").items()}
            self.network = network_of(self.config, width, weights)
        else:
            self.network = fresh_network(self.config, width, self.seed).to(workers.device)
        self.text = self.task.semantics[: len(self.task.seen)].to(workers.device)
        self.epoch = int(state["epoch"]) if state else 0
        self.alive = bool(state["alive"]) if state else True
        self.policy = {name: t.to(workers.device) for name, t in tensors_of(state, "policy").items()} if state else {}
        self.optimiser = self._optimiser(tensors_of(state, "momentum") if state else {})
        self.second_stage: PolicyTraining | None = None
        self.fixed: dict[str, Tensor] | None = None  # the network's weights, once they no longer change

    def train_epoch(self) -> dict[str, float]:
        """The next epoch, of either stage; gives its mean losses or returns, not finite once a member has diverged."""
        first_stage = self.epoch < self.config.network_epochs
        if not self.alive:
            found = dict.fromkeys((*LOSSES, "accuracy"), float("nan"))
        elif first_stage:
            found = self._train_network()
        else:
            found = self._train_policy()
        self.alive = self.alive and all(torch.isfinite(torch.tensor(value)) for value in found.values())
        self.epoch += 1
        return found

    def model(self) -> ERPCNetModel:
        task = self.task
        return ERPCNetModel(
            seen=task.seen,
            unseen=task.unseen,
            combination=None,
            config=self.config,
            seed=self.seed,
            weights=self.fixed or _copied(self.network),
            policy=dict(self.policy),
            semantics=task.semantics.to(self.workers.device),
        )

    def state(self) -> dict[str, Tensor]:
        """All that its next epochs depend on; of the optimiser, only while the network is trained."""
        state = {"epoch": torch.tensor(self.epoch), "alive": torch.tensor(self.alive)}
        state |= {f"weights.{name}": t for name, t in (self.fixed or _copied(self.network)).items()}
        state |= {f"policy.{name}": t.clone() for name, t in self.policy.items()}
        if self.epoch < self.config.network_epochs:
            for name, parameter in self.network.named_parameters():
                if "momentum_buffer" in self.optimiser.state[parameter]:
                    state[f"momentum.{name}"] = self.optimiser.state[parameter]["momentum_buffer"].clone()
        return state

    def _optimiser(self, momentum: dict[str, Tensor]) -> torch.optim.SGD:
        config, groups = self.config, {True: [], False: []}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                groups[self.network.is_fresh(name)].append((name, parameter))
        rates = {True: config.learning_rate * config.fresh_rate, False: config.learning_rate}
        optimiser = torch.optim.SGD(
            [
                {"params": [p for _, p in own], "lr": rates[fresh], "first": rates[fresh]}
                for fresh, own in groups.items()
            ],
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        for name, parameter in (pair for own in groups.values() for pair in own):
            if name in momentum:
                optimiser.state[parameter]["momentum_buffer"] = momentum[name].to(parameter.device, copy=True)
        return optimiser

    def _train_network(self) -> dict[str, float]:
        """An epoch of stage I: cells at random, T steps, no early end."""
        config, network, workers = self.config, self.network, self.workers
        for group in self.optimiser.param_groups:
            group["lr"] = group["first"] * 0.1 ** (self.epoch // config.decay_epochs)
        draw = generator(self.seed, "shuffle", self.epoch)
        rows = shuffled_rows(len(self.task.labels), config.batch_size, draw)[:, workers.share(config.batch_size)]
        names = LOSSES if network.cells else LOSSES[:1]
        totals = torch.zeros(len(names) + 1, device=workers.device)
        network.train()
        with torch.enable_grad(), named_draws(workers.device, self.seed, "epoch", self.epoch, workers.rank):
            for batch, stored in zip(rows, in_batches(self.task.features, list(rows)), strict=True):
                pictures = augmented(stored, config.side, config.smallest_crop)
                labels = self.task.labels[batch].to(workers.device)
                chosen = None
                if network.cells:
                    chosen = torch.rand(len(batch), network.cells).argsort(dim=1)[:, : config.steps].to(workers.device)
                terms, right = losses(network, normalised(pictures.to(workers.device)), labels, self.text, chosen)
                self.optimiser.zero_grad()
                terms.sum().backward()
                workers.average([p.grad for p in network.parameters() if p.grad is not None])
                if config.gradient_cut:
                    clip_grad_norm_(network.parameters(), config.gradient_cut)
                self.optimiser.step()
                totals += torch.cat([terms.detach(), right.float().mean()[None]])
        if workers.world_size > 1:  # each worker's batch normalisation has seen its own share
            workers.average([buffer for buffer in network.buffers() if buffer.is_floating_point()])
        means = workers.average([totals])[0] / len(rows)
        return dict(zip((*names, "accuracy"), means.tolist(), strict=True))

    def _train_policy(self) -> dict[str, float]:
        """An epoch of stage II."""
        if self.second_stage is None:
            self.fixed = self.network.state_dict()
            self.optimiser.zero_grad(set_to_none=True)  # stage II needs the room
            self.optimiser.state.clear()
            self.second_stage = PolicyTraining(self.network, self.config, self.task, self.seed, self.workers)
        self.policy, found = self.second_stage.train_epoch(self.policy, self.epoch)
        return found


def _copied(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
