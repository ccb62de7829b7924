"""Text: transfer learning with language models (lessons 14 and 15).

Tokenized datasets, encoders and decoders, named entities, and which tokens a prediction rests on.
"""

from course_utils.text.attributions import AttributedText, token_attributions
from course_utils.text.corpora import (
    DOMAINS,
    SENTIMENTS,
    WORD_LABELS,
    one_rater_accuracy,
    read_rated_sentences,
)
from course_utils.text.data import encode_words, load_sentiment, split_sentences
from course_utils.text.decoders import (
    few_shot_classify,
    generate,
    load_smollm2,
    prompt_for,
    small_decoder,
    smollm2_file,
)
from course_utils.text.encoders import TextNetwork, load_encoder, load_tokenizer
from course_utils.text.entities import entity_f1, extract_entities, labels_by_sentence, per_type
from course_utils.text.names import embed_texts

__all__ = [
    "DOMAINS",
    "SENTIMENTS",
    "WORD_LABELS",
    "AttributedText",
    "TextNetwork",
    "embed_texts",
    "encode_words",
    "entity_f1",
    "extract_entities",
    "few_shot_classify",
    "generate",
    "labels_by_sentence",
    "load_encoder",
    "load_sentiment",
    "load_smollm2",
    "load_tokenizer",
    "one_rater_accuracy",
    "per_type",
    "prompt_for",
    "read_rated_sentences",
    "small_decoder",
    "smollm2_file",
    "split_sentences",
    "token_attributions",
]
