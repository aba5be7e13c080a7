"""ReGen: a video captioner made discriminative by rewards (Bulat et al., ICCV 2023), from pretrained parts.

A captioner tells what happens in a clip, and the caption's CLIP embedding is compared with those of the class names.
Where the paper's parts are:

    pretrained.py    models of the Hugging Face hub, or their folders: loading, errors in one line
    networks.py      what a captioning network is made of: frames to visual tokens, text after them (Section 3.1)
    git_network.py   GIT, blip_network.py BLIP; attention.py what both attend by
    decoding.py      greedy, beam and sampled captions
    captioners.py    p_θ(w | v): visual tokens, log-probabilities, captions, attention maps (Fig. 3)
    clip_towers.py   CLIP_I and CLIP_T, frozen
    grammar.py       GRAMMAR-R by a masked language model (Eq. 5)
    discriminator.py GRAMMAR-R by a discriminator (Eq. 6), and its training
    rewards.py       CLS-R (Eq. 1, 2), CLIP-R (Eq. 4), and their sum (3.2.4)
    retrieval.py     captions of a corpus that lie next to a clip, for REST's stage
"""
