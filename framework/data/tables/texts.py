"""Texts as sequences of token ids, by Keras' rules for `TextVectorization` but for all scripts' letters and signs."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import tensorflow as tf

from framework.data.accumulators import Accumulator
from framework.data.counting import Quantiles, Vocabulary
from framework.data.statistics import Statistics

PADDING, UNKNOWN, FIRST = 0, 1, 2
_STANDARDS = ("lower_and_strip_punctuation", "lower", "strip_punctuation", None)
# The share of the training texts that are taken whole.
_WHOLE = 0.95
_LONGEST = 512
_LENGTH = "length"


@dataclasses.dataclass(frozen=True)
class Tokens:
    """How texts become token ids: 0 is padding, 1 an unknown token, the others are in the order of their frequency.

    Attributes:
        vocabulary_size: Ids altogether: the most frequent tokens of the training split, and these two.
        max_tokens: Of a text; what is longer is cut off. By default as many as 95% of the training texts have at most,
            but no more than 512.
        standardize: `"lower_and_strip_punctuation"`, `"lower"`, `"strip_punctuation"` or `None`.
        split: At `"whitespace"`, or into each `"character"`.
        ngrams: With 2 or more also pairs of neighbouring tokens, triples and so on are tokens.
    """

    vocabulary_size: int = 20_000
    max_tokens: int | None = None
    standardize: Literal["lower_and_strip_punctuation", "lower", "strip_punctuation"] | None = (
        "lower_and_strip_punctuation"
    )
    split: Literal["whitespace", "character"] = "whitespace"
    ngrams: int = 1

    def __post_init__(self):
        if self.vocabulary_size <= FIRST:
            raise ValueError(f"vocabulary_size must be at least {FIRST + 1}, got {self.vocabulary_size}.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}.")
        if self.standardize not in _STANDARDS:
            raise ValueError(f"standardize must be one of {_STANDARDS}, got {self.standardize!r}.")
        if self.split not in ("whitespace", "character"):
            raise ValueError(f"split must be 'whitespace' or 'character', got {self.split!r}.")
        if self.ngrams < 1:
            raise ValueError(f"ngrams must be at least 1, got {self.ngrams}.")

    def of(self, texts: Any) -> tf.RaggedTensor:
        """The tokens of texts string `[batch]`: string `[batch, (tokens)]`."""
        texts = tf.convert_to_tensor(texts, tf.string)
        if self.standardize in ("lower_and_strip_punctuation", "lower"):
            texts = tf.strings.lower(texts, encoding="utf-8")
        if self.standardize in ("lower_and_strip_punctuation", "strip_punctuation"):
            texts = tf.strings.regex_replace(texts, r"[\p{P}\p{S}]", "")
        tokens = tf.strings.split(texts) if self.split == "whitespace" else tf.strings.unicode_split(texts, "UTF-8")
        if self.ngrams == 1:
            return tokens
        return tf.strings.ngrams(tokens, list(range(1, self.ngrams + 1)))

    def accumulators(self) -> list[Accumulator]:
        """What is learned of the training texts."""
        counts = Quantiles([_WHOLE], of=lambda texts: self.of(texts).row_lengths(), name=_LENGTH)
        return [Vocabulary(self.vocabulary_size - FIRST, tokens=self.of), counts]

    def ids(self, name: str, texts: tf.Tensor, statistics: Statistics) -> tf.Tensor:
        """int64 `[batch, max_tokens]` of texts string `[batch]`, with what was learned of the feature `name`."""
        length = self.max_tokens or max(1, min(_LONGEST, int(statistics[f"{name}/{_LENGTH}"][0])))
        tokens = self.of(texts)[:, :length]
        known = statistics.lookup(name)(tokens.flat_values)  # 0 where unknown
        return tokens.with_flat_values(known + UNKNOWN).to_tensor(PADDING, shape=[None, length])
