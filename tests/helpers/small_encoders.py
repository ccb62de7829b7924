"""Small language models with random weights, and small sets of random texts, for several test files."""

import torch

from course_utils.settings import set_seed
from course_utils.text.data import TextDataset

VOCABULARY = 40
PAD, BEGIN, END = 0, 1, 2


def small_bert(layers=3, seed=0):
    """Return a BERT of a few thousand parameters."""
    from transformers import BertConfig, BertModel

    set_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": VOCABULARY}
    config = BertConfig(num_hidden_layers=layers, max_position_embeddings=32, **sizes)
    return BertModel(config, add_pooling_layer=False)


def small_gpt(vocabulary=VOCABULARY, width=32, layers=2):
    """Return a GPT-2 of a fraction of its size, with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    set_seed(0)
    sizes = {"n_positions": 256, "n_embd": width, "n_layer": layers, "n_head": 4}
    ends = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": PAD}
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, **ends, **sizes))


def some_texts(count=24, longest=12, seed=1):
    """Return texts of random tokens; those whose first token after the begin is 5 are of class 1."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(6, VOCABULARY, (count, longest), generator=random)
    lengths = torch.randint(4, longest + 1, (count,), generator=random)
    labels = torch.arange(count) % 2
    ids[:, 0] = BEGIN
    ids[labels == 1, 1] = 5
    ids[torch.arange(longest) >= lengths.unsqueeze(1)] = PAD
    ids[torch.arange(count), lengths - 1] = END
    return TextDataset(torch.stack([ids, (ids != PAD).long()], dim=1), labels, ["without", "with"])
