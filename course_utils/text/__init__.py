"""Text: transfer learning with language models (lessons 14 and 15).

Tokenized datasets, encoders and decoders, and named entities.
"""

from course_utils.text.corpora import read_rated_sentences
from course_utils.text.data import encode_words, load_sentiment, split_sentences
from course_utils.text.decoders import load_smollm2
from course_utils.text.encoders import TextNetwork, load_encoder, load_tokenizer
from course_utils.text.entities import entity_f1
from course_utils.text.names import embed_texts

__all__ = [
    "TextNetwork",
    "embed_texts",
    "encode_words",
    "entity_f1",
    "load_encoder",
    "load_sentiment",
    "load_smollm2",
    "load_tokenizer",
    "read_rated_sentences",
    "split_sentences",
]
