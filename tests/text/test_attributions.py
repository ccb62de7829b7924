"""Tests of token attributions: they add up to the logit, and the token that decides gets most of it."""

import pytest
import torch
from small_encoders import BEGIN, END, PAD, small_bert, some_texts

from course_utils.errors import ConfigError
from course_utils.settings import Settings, set_seed
from course_utils.text.attributions import token_attributions
from course_utils.text.encoders import TextNetwork
from course_utils.training.loop import fit


@pytest.fixture(scope="module")
def network():
    set_seed(0)
    network = TextNetwork(small_bert(2), num_classes=2, pad=PAD)
    fit(network, some_texts(120), some_texts(40, seed=2), Settings(lr=2e-3, epochs=6))
    return network


def test_attributions_add_up_to_what_the_text_changes(network):
    text = some_texts(1, seed=5).tensors[0][0]
    text = text[:, : int(text[1].sum())]
    attributions, usual, coarse = (
        token_attributions(network, text, 1, **steps) for steps in ({"steps": 200}, {}, {"steps": 3})
    )
    far = (coarse - attributions).abs().max()
    assert (usual - attributions).abs().max() < far / 5  # 50 steps
    with torch.inference_mode():
        ids = torch.stack([text[0], torch.full_like(text[0], PAD)])
        full, empty = network.fc(network.encode(ids, torch.ones_like(ids)).mean(dim=1))[:, 1]
    assert attributions.shape == (text.shape[1],)
    assert float(attributions.sum()) == pytest.approx(float(full - empty), abs=0.02)


def test_padding_changes_nothing_and_what_is_kept_gets_nothing(network):
    text = some_texts(1, seed=7).tensors[0][0]
    longer = torch.nn.functional.pad(text, (0, 5))
    attributions = token_attributions(network, text, 0, keep=(BEGIN, END))
    torch.testing.assert_close(attributions, token_attributions(network, longer, 0, keep=(BEGIN, END)))
    assert attributions[0] == 0 and attributions[-1] == 0


def test_an_unknown_class_is_an_error(network):
    with pytest.raises(ConfigError, match="does not know this class"):
        token_attributions(network, some_texts(1).tensors[0][0], 2)
