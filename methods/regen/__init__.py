"""ReGen: a captioner that is rewarded for naming the action (Bulat et al., ICCV 2023).

A video captioner describes a clip, CLIP's text tower embeds the caption and the names of all classes, and the nearest
name is the clip's class. Captions become discriminative by self-critical REINFORCE with three rewards.

    config.py           every hyperparameter, with its place in the paper
    pretrained.py       models of the Hugging Face hub, or their folders: loading, errors in one line
    networks.py         a captioner by its parts: frames to visual tokens, text after them (Section 3.1)
    git_network.py      GIT; blip_network.py BLIP; attention.py what both attend by
    decoding.py         greedy, beam and sampled captions
    captioners.py       p_θ(w | v): visual tokens, log-probabilities, captions, attention maps (Fig. 3)
    clip_towers.py      CLIP's text and image tower, frozen
    retrieval.py        REST's pseudo-captions
    rewards.py          CLS-R (Eq. 1 and 2), CLIP-R (Eq. 4), their sum (3.2.4)
    grammar.py          GRAMMAR-R by a masked language model (Eq. 5)
    discriminator.py    GRAMMAR-R by a discriminator (Eq. 6), and its training
    policy_gradient.py  self-critical REINFORCE (Eq. 3)
    learner.py          a member in training: REST's stage, the rewards, the class-name baseline
    model.py            captions, and the nearest class name
    few_shot.py         a trained model goes on from a few clips of its unseen classes (Table 6)
    adapters.py         LoRA, for one small GPU
    memory.py           out of memory, in one line

No code was released, for ReGen or for REST, whose models it starts from. Where the paper is silent or says two things,
this is our choice, and why:

- Eq. 2 is a cross-entropy, with its minus sign, and is called a reward. A reward grows with the right class, so CLS-R
  is the log-probability of the sample's class.
- Eq. 3 is printed with ∇p(w_b); REINFORCE's is ∇log p(w_b), whose expectation is the gradient of the reward.
- w_b are all captions of a beam search, each with its own reward; the sum over a caption's tokens is not divided by its
  length. How many beams is not said, nor τ: CLIP's own 0.01.
- Without dropout in the rewards' stage: what is judged is what was explored. A caption whose reward is not finite adds
  nothing; three steps in a row without any end the training.
- GIT's temporal embedding is added before the projection, so that its layer norm lets the order of frames count; added
  after it, the mean over time would leave a constant, as it does in BLIP, which has no layer between the two.
- A caption without a word, for which Eq. 5 has no value, is worth a token drawn at random.
- REST, on which the paper builds, is a stage of `rest_epochs` here: pseudo-captions retrieved for each clip from a file
  of captions, one drawn at each step, and the language model's loss. A model that went through REST elsewhere is given
  as `captioner`, with rest_epochs=0, as the paper has it.
- Class semantics of the data folder are not read: classes are compared by CLIP's embeddings of their names.
- For few shots the paper refers to REST's hyperparameters, of which there is no code: the trained configuration's hold,
  without its REST epochs, with the few-shot classes as those of CLS-R, and with a new optimiser.

Members are trained one after the other: one network fills a device. Data-parallel workers share each batch.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from methods.regen.config import ReGenConfig
from methods.regen.few_shot import going_on
from methods.regen.learner import ReGenLearner
from methods.regen.model import ReGenModel
from platform.errors import InputError
from platform.method import Learner, LearnerMethod, Member
from platform.workers import Workers
from platform.zeroshot.task import Task

__all__ = ["ReGen", "ReGenConfig", "ReGenModel", "method"]


class ReGen(LearnerMethod):
    """The method; see the module."""

    Config = ReGenConfig
    Model = ReGenModel
    data_parallel = "shares"
    pack_by = ("batch_size",)
    learns_from = ("frames",)
    citation = """@inproceedings{bulat2023regen,
  title = {{ReGen}: A good Generative zero-shot video classifier should be Rewarded},
  author = {Bulat, Adrian and Sanchez, Enrique and Martinez, Brais and Tzimiropoulos, Georgios},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year = {2023}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "git-lm": {},  # Tables 1 to 4, last rows
        "git-discriminator": {"grammar": "discriminator"},  # Table 2
        "blip-lm": {"captioner": "Salesforce/blip-image-captioning-base"},  # Table 4
        "cls": {"lambda_clip": 0.0, "lambda_grammar": 0.0},  # Table 1
        "cls-clip": {"lambda_grammar": 0.0},
        "cls-grammar": {"lambda_clip": 0.0},
        # ours, for one small GPU, at a rate for adapters
        "lora": {"lora_rank": 16, "learning_rate": 1e-4, "precision": "bfloat16", "checkpointing": True},
        "rest": {"objective": "none"},
        "class-names": {"objective": "class_names"},
    }

    def learner(self, member: Member, workers: Workers) -> Learner:
        """A member in training.

        Raises InputError where a model cannot be had, the corpus is missing where a stage needs it, or REST's stage
        takes all epochs.
        """
        config = member.config
        needs_corpus = config.rest_epochs or (config.objective == "rewards" and config.grammar == "discriminator")
        if needs_corpus and not config.corpus:
            asked = f"rest_epochs={config.rest_epochs}" if config.rest_epochs else "grammar=discriminator"
            raise InputError(f"{asked} needs captions: give a file of them, one a line, as --set corpus=FILE")
        if config.rest_epochs >= config.epochs and config.objective != "none":
            raise InputError(
                f"rest_epochs={config.rest_epochs}: leaves none of the {config.epochs} epochs for the rest"
            )
        if config.dense_grammar and not (config.lambda_grammar and config.grammar == "lm"):
            raise InputError("dense_grammar=true: needs grammar=lm and a lambda_grammar above 0, whose tokens it takes")
        return ReGenLearner(member, workers)

    def adapted(
        self, model: ReGenModel, shots: Task, values: Mapping[str, Any], seed: int, workers: Workers
    ) -> ReGenModel:
        """A trained model that goes on from a few clips of its unseen classes (Table 6). Raises InputError."""
        config = self.configure({**model.config.model_dump(), "rest_epochs": 0, **values})
        return going_on(model, config, lambda state: self.learner(Member(shots, config, seed, state), workers))


method = ReGen()
