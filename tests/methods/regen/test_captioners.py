from itertools import chain

import pytest
import torch
from made_regen import WORDPIECES, clips

from methods.regen.captioners import Decoding, load_captioner
from platform.errors import InputError
from platform.population.draws import generator

KINDS = ["git", "blip"]


@pytest.fixture(params=KINDS)
def captioner(request, models):
    found = load_captioner(models(request.param), 2, "cpu")
    found.max_tokens = 8
    return found


def _random_tokens(captioner, count, length, seed=0):
    """Rows of words, the beginning token first; the second row ends early."""
    marks = captioner.network.marks
    rows = torch.randint(6, len(WORDPIECES), (count, length), generator=generator(seed, "tokens"))
    rows[:, 0] = marks.begin
    rows[1, 3], rows[1, 4:] = marks.end, marks.padding
    return rows


def _logits_of_transformers(captioner, frame, tokens):
    """(N, T, V) by transformers' own forward of one picture a row, without the tokens no caption has inside."""
    parts = captioner.network
    own = captioner._pixels(frame)
    found = parts.pretrained(pixel_values=own, input_ids=tokens).logits[:, -tokens.shape[1] :]
    return found.index_fill(-1, torch.tensor([parts.marks.begin, parts.marks.padding]), -torch.inf)


def test_log_probabilities_are_those_of_transformers_forward(captioner):
    frames = clips(3, 2)
    frames[:, 1] = frames[:, 0]  # the mean of two equal frames is the frame
    tokens = _random_tokens(captioner, 3, 6)
    with torch.no_grad():
        found = captioner.log_probabilities(captioner.visual(frames), tokens)
        expected = _logits_of_transformers(captioner, frames[:, 0], tokens).log_softmax(-1)[:, :-1]
    expected = expected.gather(-1, tokens[:, 1:, None])[..., 0]
    expected[1, 3:] = 0  # padding
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_captions_share_their_clips_visual_tokens(captioner):
    with torch.no_grad():
        visual = captioner.visual(clips(2))
        tokens = _random_tokens(captioner, 6, 5)
        together = captioner.log_probabilities(visual, tokens)
        alone = captioner.log_probabilities(visual.repeat_interleave(3, dim=0), tokens)
    torch.testing.assert_close(together, alone)
    with pytest.raises(ValueError, match="5 captions are no multiple of 2 clips"):
        captioner.log_probabilities(visual, tokens[:5])


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding("greedy"),
        Decoding("beam", 3),
        Decoding("beam", 4, length_penalty=0.0),
        Decoding("sample", 5, temperature=2.0, top_p=0.9, generator=generator(0, "samples")),
    ],
    ids=lambda decoding: f"{decoding.kind}{decoding.count}",
)
def test_generated_log_probabilities_are_those_of_teacher_forcing(captioner, decoding):
    with torch.no_grad():
        visual = captioner.visual(clips(3))
        found = captioner.generate(visual, decoding)
        assert found.tokens.shape[:2] == found.log_probabilities.shape == (3, decoding.count)
        forced = captioner.log_probabilities(visual, found.tokens.flatten(0, 1)).sum(dim=1)
    torch.testing.assert_close(found.log_probabilities, forced.view(3, -1), atol=1e-4, rtol=1e-4)
    marks = captioner.network.marks
    assert (found.tokens[..., 0] == marks.begin).all()
    assert not (found.tokens[..., 1:] == marks.begin).any()
    for row in found.tokens.flatten(0, 1).tolist():
        end = row.index(marks.end) if marks.end in row else len(row)
        assert marks.padding not in row[:end]
        assert set(row[end + 1 :]) <= {marks.padding}
    for text, row in zip(chain(*found.texts), found.tokens.flatten(0, 1).tolist(), strict=True):
        assert text == captioner.tokenizer.decode(row[1:], skip_special_tokens=True)


def test_cached_decoding_equals_uncached(captioner):
    """Each token is the likeliest one by a pass over all that stands before it."""
    marks = captioner.network.marks
    with torch.no_grad():
        visual = captioner.visual(clips(4))
        found = captioner.generate(visual, Decoding()).tokens[:, 0]
        memory = captioner.network.memory(visual)
        for place in range(1, found.shape[1]):
            hidden, _ = captioner.network.text(found[:, None, :place], memory, None)
            likeliest = captioner.network.log_probabilities(hidden[:, 0, -1]).argmax(dim=-1)
            going = ~(found[:, 1:place] == marks.end).any(dim=1)
            assert torch.equal(found[going, place], likeliest[going])


def test_the_temporal_embedding_starts_at_zero_and_learns(captioner):
    frames = clips(2)
    visual = captioner.visual(frames)
    each = [captioner.visual(frames[:, [own, own]]) for own in range(2)]
    torch.testing.assert_close(visual, torch.stack(each).mean(dim=0))
    (visual * torch.linspace(0, 1, visual.shape[-1])).sum().backward()
    assert captioner.temporal.grad.shape == (2, 1, 16)
    assert captioner.temporal.grad.abs().max() > 0


def test_git_tells_the_order_of_frames_by_its_temporal_embedding(models):
    captioner = load_captioner(models("git"), 2, "cpu")
    torch.nn.init.normal_(captioner.temporal, generator=generator(0))
    frames = clips(1)
    assert (captioner.visual(frames) - captioner.visual(frames.flip(1))).abs().max() > 0.01


def test_a_model_of_videos_lends_its_temporal_embedding_for_as_many_frames(models):
    lent = load_captioner(models("git of videos"), 2, "cpu")
    assert lent.temporal.abs().min() > 0
    assert not load_captioner(models("git of videos"), 3, "cpu").temporal.any()
    assert not any("img_temporal_embedding" in name for name, _ in lent.named_parameters())


def test_attention_maps_are_those_of_transformers(captioner):
    frames = clips(3)
    frames[:, 1] = frames[:, 0]
    tokens = _random_tokens(captioner, 3, 6)
    image, text = captioner.attention(captioner.visual(frames), tokens)
    pixels = captioner._pixels(frames[:, 0])
    pretrained = captioner.network.pretrained
    counted = (tokens != captioner.network.marks.padding)[..., None]
    if hasattr(pretrained, "git"):
        with torch.no_grad():
            own = pretrained(pixel_values=pixels, input_ids=tokens, output_attentions=True).attentions[-1]
        expected = own.mean(dim=1)[:, -6:]
        torch.testing.assert_close(torch.cat([image, text], dim=-1), expected * counted, atol=1e-4, rtol=1e-4)
    else:
        with torch.no_grad():
            seen = pretrained.vision_model(pixels).last_hidden_state
            own = pretrained.text_decoder.bert(
                tokens, encoder_hidden_states=seen, is_decoder=True, output_attentions=True
            )
        torch.testing.assert_close(image, own.cross_attentions[-1].mean(dim=1) * counted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(text, own.attentions[-1].mean(dim=1) * counted, atol=1e-4, rtol=1e-4)


def test_groups_hold_each_parameter_once(captioner):
    groups = captioner.groups()
    assert list(groups) == ["vision", "projection", "temporal", "decoder"]
    found = [id(own) for group in groups.values() for own in group]
    assert sorted(found) == sorted(id(own) for own in captioner.parameters())
    assert bool(groups["projection"]) == hasattr(captioner.network.pretrained, "git")
    captioner.log_probabilities(captioner.visual(clips(2)), _random_tokens(captioner, 2, 5)).sum().backward()
    without = [name for name, own in captioner.named_parameters() if own.grad is None]
    assert without == []


@pytest.mark.parametrize("training", [False, True])
def test_checkpointing_changes_no_gradient(captioner, training):
    captioner.train(training)
    tokens = _random_tokens(captioner, 4, 5)

    def gradients(enabled):
        captioner.checkpointing(enabled)
        captioner.zero_grad()
        torch.manual_seed(0)  # dropout's
        captioner.log_probabilities(captioner.visual(clips(2)), tokens).sum().backward()
        return [own.grad.clone() for own in captioner.parameters()]

    for kept, again in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(again, kept)


def test_bfloat16_autocast_comes_near(captioner):
    visual, tokens = captioner.visual(clips(2)), _random_tokens(captioner, 2, 5)
    expected = captioner.log_probabilities(visual, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        found = captioner.log_probabilities(captioner.visual(clips(2)), tokens)
        captions = captioner.generate(captioner.visual(clips(2)), Decoding("beam", 2))
    found.sum().backward()
    assert found.dtype == captions.log_probabilities.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.3, rtol=0.1)


def test_generating_leaves_each_part_in_its_mode(captioner):
    captioner.train()
    captioner.network.pretrained.eval()
    captioner.generate(captioner.visual(clips(1)), Decoding("sample", 2))
    assert captioner.training
    assert not any(part.training for part in captioner.network.pretrained.modules())


def test_captions_as_text_become_tokens(captioner):
    marks = captioner.network.marks
    tokens = captioner.tokens(["a man kicks the ball in the snow snow", "balls", ""])
    assert tokens.shape == (3, captioner.max_tokens)
    assert tokens[:, 0].tolist() == [marks.begin] * 3
    assert tokens[0, -1] == marks.end
    word = WORDPIECES.index
    assert tokens[1].tolist() == [marks.begin, word("ball"), word("##s"), marks.end, *[marks.padding] * 4]
    assert captioner._text(tokens[1].tolist()) == "balls"
    assert captioner._text(tokens[2].tolist()) == ""


def test_a_caption_has_room_for_its_end(captioner):
    captioner.max_tokens = 1
    with pytest.raises(InputError, match="max_tokens=1"):
        captioner.generate(captioner.visual(clips(1)), Decoding())
    captioner.max_tokens = 100  # more than the model has positions
    assert captioner.tokens(["snow " * 200]).shape == (1, 24)
    assert captioner.generate(captioner.visual(clips(1)), Decoding()).tokens.shape[-1] <= 24


def test_another_number_of_frames_is_one_line(captioner):
    with pytest.raises(InputError, match="clips of 3 frames: the captioner was loaded for 2"):
        captioner.visual(clips(1, 3))
