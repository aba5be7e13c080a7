"""A member of ReGen in training: REST's stage, then the rewards (or the baseline that regresses class names)."""

import math
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn.parameter import Parameter
from torch.nn.utils import clip_grad_norm_

from methods.regen.adapters import add_adapters, merged_weights
from methods.regen.captioners import Captions, Decoding, load_captioner
from methods.regen.clip_towers import shared_clip
from methods.regen.config import ReGenConfig, as_words
from methods.regen.grammar import GrammarDiscriminator, shared_masked_lm, train_discriminator
from methods.regen.memory import enough_memory
from methods.regen.model import ReGenModel
from methods.regen.policy_gradient import advantages, language_model_loss, reinforce_loss
from methods.regen.retrieval import read_captions, retrieved
from methods.regen.rewards import Grammar, Rewards
from platform.errors import InputError, InputWarning
from platform.method import Learner, Member, tensors_of
from platform.population.draws import generator, named_draws, shuffled_rows
from platform.workers import Workers

_CLIPS_AT_ONCE = 16  # that are embedded before training
_STEPS_WITHOUT_REWARD = 3  # in a row, after which training ends


class ReGenLearner(Learner):
    """A member's captioner, its optimiser, and how far it is. A member that has diverged is left as it is."""

    def __init__(self, member: Member, workers: Workers) -> None:
        self.config: ReGenConfig = member.config
        self.task, self.seed, self.workers, state = member.task, member.seed, workers, member.state
        self.frames = self.task.features.to(workers.device)
        self.captioner = load_captioner(self.config.captioner, self.frames.shape[1], workers.device)
        self._check_length()
        self.captioner.max_tokens = self.config.max_tokens
        self.captioner.checkpointing(self.config.checkpointing)
        self.trained = self._chosen()
        if state:
            self.captioner.load_state_dict(tensors_of(state, "weights"), strict=not self.config.lora_rank)
        self.epoch = int(state["epoch"]) if state else 0
        self.alive = bool(state["alive"]) if state else True
        self.without_reward = int(state["without_reward"]) if state else 0  # steps in a row
        self.finite = True  # whether a step had some reward
        self.optimiser = self._optimiser(state or {})
        self.clip = shared_clip(self.config.clip, workers.device)
        self._check_names()
        self.grammar: Grammar | None = None
        if self.config.judges_by_language_model:
            self.grammar = shared_masked_lm(self.config.language_model, workers.device)

    def train_epoch(self) -> dict[str, float]:
        with enough_memory(self.config, self.frames.shape[1]):
            found = self._trained_epoch()
        self.alive = self.alive and math.isfinite(found["loss"])
        self.epoch += 1
        return found

    def _trained_epoch(self) -> dict[str, float]:
        if not self.alive:
            return {"loss": math.nan}
        if self.epoch < self.config.rest_epochs:
            return self._train_on_text(lambda row: self.pseudo_captions[row])
        if self.config.objective == "class_names":
            return self._train_on_text(lambda row: [as_words(self.task.seen[int(self.task.labels[row])])])
        return self._train_by_rewards() if self.config.objective == "rewards" else {"loss": 0.0}

    def model(self) -> ReGenModel:
        task = self.task
        return ReGenModel(
            seen=task.seen,
            unseen=task.unseen,
            combination=None,
            config=self.config,
            weights=merged_weights(self.captioner),
            frames=self.frames.shape[1],
            semantics=task.semantics[len(task.seen) :].to(self.workers.device),
        )

    def state(self) -> dict[str, Tensor]:
        state = {"epoch": torch.tensor(self.epoch), "alive": torch.tensor(self.alive)}
        state["without_reward"] = torch.tensor(self.without_reward)
        weights = self.trained if self.config.lora_rank else self.captioner.state_dict()  # the rest is in its files
        state |= {f"weights.{name}": t.detach().clone() for name, t in weights.items()}
        for name, parameter in self.trained.items():
            for kind, value in self.optimiser.state.get(parameter, {}).items():
                state[f"{kind}.{name}"] = value.detach().clone()
        return state

    def _chosen(self) -> dict[str, Parameter]:
        """The parameters that are trained, by their names."""
        if self.config.lora_rank:
            return add_adapters(self.captioner, self.config, self.seed)
        for name, parameters in self.captioner.groups().items():
            for parameter in parameters:
                parameter.requires_grad_(name != self.config.frozen)
        return {name: own for name, own in self.captioner.named_parameters() if own.requires_grad}

    def _check_length(self) -> None:
        """Raises InputError for captions that are longer than the captioner can say: they would be shorter unasked."""
        if self.config.max_tokens > (most := self.captioner.network.positions):
            asked = f"max_tokens={self.config.max_tokens}"
            raise InputError(f"{asked}: captioner={self.config.captioner} has {most} positions; give {most} at most")

    def _check_names(self) -> None:
        """Raises InputError for a class name of which a tokenizer leaves nothing: all such classes would be the same.

        Names are read without the template, whose words would hide it.
        """
        names = [as_words(name) for name in self.task.seen + self.task.unseen]
        readers = {f"clip={self.config.clip}": self.clip.token_ids}
        if self.config.objective == "class_names":
            readers[f"captioner={self.config.captioner}"] = self.captioner.tokens
        for who, tokens_of in readers.items():
            *found, nothing = tokens_of([*names, ""])
            for name, tokens in zip(self.task.seen + self.task.unseen, found, strict=True):
                if torch.equal(tokens, nothing):
                    raise InputError(
                        f"class name `{name}`: the tokenizer of {who} leaves nothing of it; name the class in words "
                        "when the data are imported"
                    )

    def _optimiser(self, state: dict[str, Tensor]) -> torch.optim.AdamW:
        optimiser = torch.optim.AdamW(self.trained.values(), weight_decay=self.config.weight_decay)
        for kind in ("step", "exp_avg", "exp_avg_sq"):
            for name, value in tensors_of(state, kind).items():
                parameter = self.trained[name]
                device = "cpu" if kind == "step" else parameter.device
                optimiser.state[parameter][kind] = value.to(device, copy=True)
        return optimiser

    @cached_property
    def clips(self) -> Tensor:
        """(N, d) CLIP's embeddings of the training clips."""
        rows = torch.arange(len(self.task.labels)).split(_CLIPS_AT_ONCE)
        return torch.cat([self.clip.frames(self.frames.decoded(own)) for own in rows])

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of this worker's share of each batch, and their frames (n, F, 3, S, S), decoded ahead."""
        config, workers = self.config, self.workers
        draw = generator(self.seed, "shuffle", self.epoch)
        rows = shuffled_rows(len(self.task.labels), config.batch_size, draw)[:, workers.share(config.batch_size)]
        yield from zip(rows, self.frames.batches(list(rows)), strict=True)

    def _train_on_text(self, texts_of: Callable[[int], list[str]]) -> dict[str, float]:
        """An epoch of the language-model loss on a text of each clip, one of several drawn."""
        rest = self.epoch < self.config.rest_epochs
        self._set_rate(self.config.rest_learning_rate if rest else self.config.learning_rate)
        self.captioner.train()
        draw, losses = generator(self.seed, "texts", self.epoch, self.workers.rank), []
        with named_draws(self.workers.device, self.seed, "epoch", self.epoch, self.workers.rank):
            for rows, frames in self._batches():
                texts = [texts_of(row) for row in rows.tolist()]
                chosen = [own[int(torch.randint(len(own), (), generator=draw))] for own in texts]
                tokens = self.captioner.tokens(chosen)
                losses.append(self._step(frames, lambda visual, part, t=tokens: self._text_loss(visual, t[part])))
        return {"loss": self._mean(losses)}

    def _text_loss(self, visual: Tensor, tokens: Tensor) -> Tensor:
        return language_model_loss(self.captioner.log_probabilities(visual, tokens))

    def _train_by_rewards(self) -> dict[str, float]:
        """An epoch of Eq. 3, without dropout: what is judged is what was explored."""
        self._set_rate(self.config.learning_rate)
        self.captioner.eval()
        rewards, told, losses = self._rewards(), [], []
        draw = generator(self.seed, "explore", self.epoch, self.workers.rank, device=self.workers.device)
        for rows, frames in self._batches():
            labels, clips = self.task.labels[rows].to(self.workers.device), self.clips[rows]
            self.finite = False
            losses.append(
                self._step(frames, partial(self._reinforced, rewards, labels, clips, draw, told), self._counts)
            )
            if self.without_reward >= _STEPS_WITHOUT_REWARD:
                losses.append(torch.tensor(math.nan, device=self.workers.device))
                self._say_that_it_ends()
                break
        means = self.workers.average([torch.stack(told).nanmean(dim=0)])[0].tolist()
        names = (*(f"{name}_reward" for name in self._judged_by(rewards)), "greedy_reward", "left_out")
        return {"loss": self._mean(losses), **dict(zip(names, means, strict=True))}

    def _reinforced(
        self,
        rewards: Rewards,
        labels: Tensor,
        clips: Tensor,
        draw: torch.Generator,
        told: list[Tensor],
        visual: Tensor,
        part: slice,
    ) -> Tensor:
        """The loss of some clips, whose captions are explored from their visual tokens and judged; what is told of them
        is added to `told`."""
        config, labels, clips = self.config, labels[part], clips[part]
        exploring = Decoding(config.explore, config.beams, config.temperature, config.top_p, generator=draw)
        explored = self.captioner.generate(visual.detach(), exploring)
        greedy = self.captioner.generate(visual.detach(), Decoding())
        of_explored, of_greedy = (self._judged(rewards, own, labels, clips) for own in (explored, greedy))
        advantage = advantages(of_explored["total"], of_greedy["total"][:, 0])  # (n, K)
        counted = advantage.isfinite() & explored.log_probabilities.isfinite()  # a beam may find fewer than K
        self.finite |= bool(counted.any())
        means = [of_explored[name][counted].mean() for name in self._judged_by(rewards)]
        told.append(torch.stack([*means, of_greedy["total"].mean(), 1 - counted.float().mean()]))
        if config.dense_grammar:  # each token's own, in place of their mean
            weight, mean = config.lambda_grammar, of_explored["grammar"]
            advantage = (advantage - weight * mean)[..., None] + weight * self._dense(explored)
        log_probabilities = self.captioner.log_probabilities(visual, explored.tokens.flatten(0, 1))
        return reinforce_loss(log_probabilities.view(*counted.shape, -1), advantage, counted)

    def _judged_by(self, rewards: Rewards) -> list[str]:
        return ["total", "class", "clip", *(["grammar"] if rewards.grammar else [])]

    def _step(
        self, frames: Tensor, loss_of: Callable[[Tensor, slice], Tensor], counts: Callable[[], bool] = lambda: True
    ) -> Tensor:
        """A step on a batch, in parts; returns its loss.

        loss_of: a part's visual tokens, and the part, to its loss; counts: asked after all parts, whether it is taken.
        """
        self.optimiser.zero_grad()
        size = -(-len(frames) // self.config.accumulation)
        parts = [slice(first, first + size) for first in range(0, len(frames), size)]
        total = torch.zeros((), device=self.workers.device)
        for part in parts:
            share = len(frames[part]) / len(frames)
            with torch.enable_grad(), self._cast():
                loss = share * loss_of(self.captioner.visual(frames[part]), part)
            loss.backward()
            total += loss.detach()
        if not counts():
            return total
        for parameter in self.trained.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.workers.average([p.grad for p in self.trained.values()])
        if self.config.gradient_cut:
            clip_grad_norm_(self.trained.values(), self.config.gradient_cut)
        self.optimiser.step()
        return total

    def _judged(self, rewards: Rewards, captions: Captions, labels: Tensor, clips: Tensor) -> dict[str, Tensor]:
        """(n, K) of each reward."""
        k = len(captions.texts[0])
        texts = [text for own in captions.texts for text in own]
        found = rewards(texts, labels.repeat_interleave(k), clips.repeat_interleave(k, dim=0))
        return {name: value.view(len(labels), k) for name, value in found.items()}

    def _dense(self, captions: Captions) -> Tensor:
        """(n, K, T - 1) GRAMMAR-R of each token of explored captions after the first (3.2.3), 0 at ends and padding."""
        tokens = captions.tokens[..., 1:]
        found = torch.zeros(tokens.shape, device=tokens.device)
        for place, texts in enumerate(captions.texts):
            for own, reward in enumerate(self.grammar.per_token(texts)):
                words = len(self.captioner.tokenizer.encode(texts[own], add_special_tokens=False))
                if words != len(reward):
                    raise InputError(
                        f"dense_grammar=true: `{texts[own]}` has {words} tokens for the captioner, {len(reward)} for "
                        f"{self.config.language_model}; give a language model with the captioner's tokenizer"
                    )
                found[place, own, :words] = reward[: found.shape[2]]
        return found

    def _counts(self) -> bool:
        """Whether some reward of the step, of any worker, is finite; how many steps in a row had none is kept."""
        some = self.workers.average([torch.tensor(float(self.finite), device=self.workers.device)])[0].item() > 0
        self.without_reward = 0 if some else self.without_reward + 1
        return some

    def _say_that_it_ends(self) -> None:
        config = self.config
        warnings.warn(
            f"regen, seed {self.seed}: {_STEPS_WITHOUT_REWARD} steps in a row without a finite reward end training; "
            f"lower learning_rate={config.learning_rate:g}, or check {config.clip} and {config.language_model}",
            InputWarning,
            stacklevel=3,
        )

    def _rewards(self) -> Rewards:
        """Of an epoch: its memory of captions begins anew, so that a training that was cut off goes on alike."""
        config = self.config
        if self.grammar is None and config.lambda_grammar:
            self.grammar = self._discriminator()
        weights = (config.lambda_cls, config.lambda_clip, config.lambda_grammar)
        return Rewards(self.clip, self.grammar, self.classes, *weights, tau=config.tau)

    @cached_property
    def classes(self) -> Tensor:
        """(S, d) CLIP's embeddings of the seen classes' names."""
        return self.clip.text(self.config.read(self.task.seen))

    def _discriminator(self) -> GrammarDiscriminator:
        """Eq. 6's, of the retrieved captions of the training clips."""
        captions = sorted({text for own in self.pseudo_captions for text in own})
        return train_discriminator(captions, self.clip, self.seed)

    @cached_property
    def pseudo_captions(self) -> list[list[str]]:
        """REST's, of each training clip."""
        captions = read_captions(self.config.corpus)
        embedded = self.clip.text(captions)
        _, places = retrieved(self.clips, embedded, min(self.config.rest_captions, len(captions)))
        return [[captions[i] for i in own] for own in places.tolist()]

    def _set_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _cast(self) -> torch.autocast:
        return torch.autocast(self.workers.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def _mean(self, losses: list[Tensor]) -> float:
        return self.workers.average([torch.stack(losses).mean()])[0].item()
