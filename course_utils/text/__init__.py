"""Text: transfer learning with language models (lesson 10).

Tokenized datasets, encoders and decoders, named entities, and which tokens a prediction rests on.
"""

from course_utils.text.attributions import AttributedText, token_attributions
from course_utils.text.comparison import INIT_STRATEGIES, TARGETS, train_text_from
from course_utils.text.corpora import SENTIMENTS, WORD_LABELS, read_reviews
from course_utils.text.data import encode_words, load_reviews, load_topics, split_sentences
from course_utils.text.decoders import (
    few_shot_classify,
    generate,
    load_smollm2,
    next_token_loss,
    pool_last_token,
    prompt_for,
    small_decoder,
    smollm2_file,
    train_decoder,
)
from course_utils.text.encoders import TextNetwork, encoder_source, load_encoder, load_tokenizer
from course_utils.text.entities import entity_f1, extract_entities, labels_by_sentence, merge_bio, per_type
from course_utils.text.names import embed_texts, match_names

__all__ = [
    "INIT_STRATEGIES",
    "SENTIMENTS",
    "TARGETS",
    "WORD_LABELS",
    "AttributedText",
    "TextNetwork",
    "embed_texts",
    "encode_words",
    "encoder_source",
    "entity_f1",
    "extract_entities",
    "few_shot_classify",
    "generate",
    "labels_by_sentence",
    "load_encoder",
    "load_reviews",
    "load_smollm2",
    "load_tokenizer",
    "load_topics",
    "match_names",
    "merge_bio",
    "next_token_loss",
    "per_type",
    "pool_last_token",
    "prompt_for",
    "read_reviews",
    "small_decoder",
    "smollm2_file",
    "split_sentences",
    "token_attributions",
    "train_decoder",
    "train_text_from",
]
