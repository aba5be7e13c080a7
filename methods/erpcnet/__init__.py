"""ERPCNet: an entropy-guided reinforced partial convolutional network (Li et al., IEEE TCSVT 2022).

A picture is recognised by its embedding as a whole and by those of a few regions of its feature maps, which a recurrent
policy visits one after the other until the prediction is sure enough. All of it is trained from the pixels: stage I
learns the networks with regions drawn at random, stage II the policy alone.

The features are square pictures, encoded and read batch by batch, or uint8, channel first, as earlier imports have
them. Where the paper's parts are:

    config.py           every hyperparameter, with its place in the paper; PPO's constants: environments.locality_ppo
    losses.py           stage I: L_g, L_l, L_j, L_m (Eq. 1, 3, 4, 5)
    reward.py           the reward r_t (Eq. 6), β and the entropy of a region (Eq. 7, 8)
    policy.py           the policy π (Eq. 14, 15)
    walks.py            which cells are visited (the state of Eq. 2), what is predicted after each, where a walk ends
    network.py          global, local and joint subnet, the partial convolution f_P (Architecture Implementation)
    backbones.py        torchvision's networks, cut into blocks
    localities.py       the grid of cells: crops, and their boxes on the picture
    pictures.py         what is seen of a picture: its middle, or a random crop
    model.py            inference (Section "Training and Inference")
    training.py         a member in training, stage I
    policy_training.py  stage II, on methods.environments.localities: PPO (Eq. 9 to 13) is RLlib's

No code was released. Where the paper is silent or says two things, this is our choice, and why:

- The maps: e^{n−1} is what the backbone's last block takes: layer4 of a ResNet, the last fire module of a SqueezeNet.
  At 224 pixels a ResNet's are 14 × 14, and the cells 4 × 4, as the paper has them.
- The entropy of a region (Eq. 8) is the mean over its places of that over its channels: see `reward.entropy`. A cell is
  a k × k window of the maps, without the RoI pooling that aligns sizes, since all cells are of one size.
- The partial convolution's 26 million weights start as each channel's average over the region, bias 0 and no
  non-linearity after it (none is named): C_l, which starts as C^n, so begins with maps of the kind that it knows.
- fc_j has no non-linearity between its layers, as its definition is written. e_j is what its first layer gives; the
  union embedding is ē_g + e_j where both are equally wide, as in the paper, and their concatenation elsewhere.
- L_j is the mean over all lengths 1 … T of a sequence: stage II and inference ask fc_j after each step, and stage I
  must make it "predict correctly for an arbitrary sequence"; with Eq. 4 at T alone (`every_prefix=false`) fc_j would
  never have seen the zeros that fill a shorter one. L_m takes the maximum over all T steps.
- All steps of a batch go through C_l at once, so that its batch normalisation sees them together. Batch normalisation
  is trained as usual; blocks that `frozen_blocks` keeps as they are also keep their statistics.
- Gradients are not cut, but a SqueezeNet's are, at 5: the paper's ResNet has batch normalisation, a SqueezeNet nothing
  like it (with ImageNet's weights |ē_g| is about 470, the first gradient's norm about 900). At the paper's rate its
  losses leave the finite numbers within two epochs, or where they end hangs on the last bits of a product.
- Augmentation is a random resized crop and a flip, in training; the middle of the picture in stage II and in testing.
- Epochs, batch size and the share of the two stages are not said. Validation chooses among the epochs of stage II:
  until it begins, a model visits T cells at random, as PCNet does.
- PPO is RLlib's: advantages are standardised over a batch, an episode that an iteration cuts off goes on in the value
  of its state, and four passes over an iteration in minibatches of 16 episodes stand where nothing is said. Adam starts
  anew in each epoch, which sees policy_iterations · policy_episodes pictures, not all.
- Every r_t is positive and r ≥ σ ends an episode, so that Eq. 9 also pays for staying unsure: a return above a random
  policy's is to be read beside the steps taken.
- π's outputs are the logits of the cells, without the sigmoid that Eq. 15 ends it with: between 0 and 1 they could
  prefer one cell to another by a factor e at most (`policy_sigmoid=true` keeps it).
- Inference (Section "Training and Inference"): ā = ā_j,t + ā_g, with the walk that ends where the reward reaches σ. The
  predicted label, which stands there for the truth, and the softmax are over the classes that are asked for: the
  unseen ones in ZSL, in GZSL all, with δ not yet subtracted. The policy takes its likeliest cell.
- Table 2's rows share all but what they are named for; GlobalNet and PCNet train their network for all of `epochs`,
  where RPCNet and ERPCNet give the last `policy_epochs` to the policy.
- PCNet (`sampler=random`) always takes T steps, drawn by the model's seed and the sample's place among those scored.
- HardNet (`crops=image`): a second backbone on patches of the picture that lie as the cells do; the paper's may lie
  anywhere. β is then of the picture's own numbers.
- Calibrated stacking's δ is fitted on pseudo-unseen classes, as for every method here; the paper's own values stand
  beside the presets. It is taken from log-probabilities, which differ from āᵀφ by one number for all classes.
- The semantics have length 1, which the platform's class text sees to.

Members are trained one after the other: one network fills a device. Data-parallel workers share each batch, and the
first of them trains the policy.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from methods.erpcnet.config import ERPCNetConfig
from methods.erpcnet.model import ERPCNetModel
from methods.erpcnet.training import LocalityLearner
from platform.errors import InputError
from platform.method import Learner, LearnerMethod, Member
from platform.workers import Workers

__all__ = ["ERPCNet", "ERPCNetConfig", "ERPCNetModel", "method"]


class ERPCNet(LearnerMethod):
    """The method; see the module."""

    Config = ERPCNetConfig
    Model = ERPCNetModel
    data_parallel = "shares"
    pack_by = ("batch_size",)
    learns_from = ("pictures", "pixels")
    citation = """@article{li2022erpcnet,
  title = {Entropy-guided Reinforced Partial Convolutional Network for Zero-Shot Learning},
  author = {Li, Yun and Liu, Zhe and Yao, Lina and Wang, Xianzhi and McAuley, Julian and Chang, Xiaojun},
  journal = {IEEE Transactions on Circuits and Systems for Video Technology},
  year = {2022}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cub": {"sigma": 0.5, "steps": 6, "dropout": 0.5},  # the paper's δ: 0.8
        "sun": {"sigma": 0.7, "steps": 6, "dropout": 0.0},  # 0.2
        "apy": {"sigma": 1.1, "steps": 6, "dropout": 0.5},  # 0.5
        "awa2": {"sigma": 0.5, "steps": 10, "dropout": 0.0},  # 0.5
        # ours, for a CPU: maps of 7 × 7 give 3 × 3 cells, and only the last block and what follows it is trained
        "small": {
            "backbone": "squeezenet1_1",
            "frozen_blocks": 4,
            "side": 128,
            "smallest_crop": 0.5,
            "kernel": 3,
            "stride": 2,
            "steps": 4,
            "joint_hidden": 512,
            "dropout": 0.0,
            "epochs": 20,
            "policy_epochs": 5,
        },
    }

    def learner(self, member: Member, workers: Workers) -> Learner:
        """A member in training. Members of a pack share `pack_by`; all else may differ.

        Raises InputError where the samples are no pictures or too small, cells or epochs are too few, weights cannot be
        had, or a worker has too few pictures a step.
        """
        config = member.config
        if config.batch_size // workers.world_size < 2:
            raise InputError(f"batch_size={config.batch_size}: batch normalisation needs two pictures a worker")
        if config.sampler == "policy" and not config.policy_epochs:
            raise InputError("policy_epochs=0: sampler=policy would never learn one; use sampler=random")
        if config.network_epochs < 1:
            raise InputError(
                f"policy_epochs={config.policy_epochs}: leaves none of the {config.epochs} epochs for stage I"
            )
        return LocalityLearner(member, workers)


method = ERPCNet()
