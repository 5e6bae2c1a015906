import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.sources import Example
from framework.data.statistics import Statistics, collect
from framework.data.tables.texts import Tokens

ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
STANDARDS = ("lower_and_strip_punctuation", "lower", "strip_punctuation", None)


def learned(tokens, texts):
    examples = [Example({"text": np.array([text.encode() for text in part], object)}, None) for part in texts]
    return Statistics(collect(examples, {"text": tokens.accumulators()}))


def words(tokens, text):
    return [token.decode() for token in tokens.of([text])[0].numpy()]


@settings(deadline=None, max_examples=30)
@given(st.lists(ASCII, min_size=1, max_size=5), st.sampled_from(STANDARDS), st.integers(1, 3), st.booleans())
def test_tokens_are_those_of_keras(texts, standardize, ngrams, characters):
    split = "character" if characters else "whitespace"
    tokens = Tokens(standardize=standardize, split=split, ngrams=ngrams)
    vocabulary = sorted({token for text in texts for token in words(tokens, text)} - {"[UNK]"}) or ["x"]
    layer = keras.layers.TextVectorization(
        standardize=standardize, split=split, ngrams=ngrams, vocabulary=vocabulary, output_mode="int"
    )
    number = {token: place for place, token in enumerate(layer.get_vocabulary())}
    for text in texts:
        expected = [int(i) for i in np.ravel(layer([text]))]
        got = [number.get(token, 1) for token in words(tokens, text)]
        # Keras looks for n-grams of one length after those of another, as we do; the order is the same.
        assert got == expected[: len(got)]
        assert not any(expected[len(got) :])


def test_all_scripts_have_capitals_and_signs():
    assert words(Tokens(), "ÄRGER, «Что это?» „Ça…” 10€ don't") == ["ärger", "что", "это", "ça", "10", "dont"]
    assert words(Tokens(standardize=None), "A b.") == ["A", "b."]
    assert words(Tokens(split="character"), "Äb!") == ["ä", "b"]
    assert words(Tokens(ngrams=2), "a b c") == ["a", "b", "c", "a b", "b c"]


def test_what_isn_t_utf_8_does_no_harm():
    statistics = learned(Tokens(max_tokens=3), [["good"]])
    ids = Tokens(max_tokens=3).ids("text", tf.constant([b"\xff\xfe good", b"\xc3"]), statistics).numpy()
    assert ids.tolist() == [[2, 0, 0], [0, 0, 0]]


def test_ids():
    tokens = Tokens(vocabulary_size=4, max_tokens=3)
    statistics = learned(tokens, [["a a b", "b a"], ["c"]])
    assert statistics["text"].tolist() == ["a", "b"]
    ids = tf.function(lambda texts: tokens.ids("text", texts, statistics))(tf.constant(["b a c a", "", "B!"]))
    assert ids.dtype == tf.int64
    assert ids.numpy().tolist() == [[3, 2, 1], [0, 0, 0], [3, 0, 0]]
    assert ids.shape[1] == 3


def test_the_length_is_that_of_most_texts():
    texts = [["a " * 4] * 96, ["a " * 90] * 4]
    statistics = learned(Tokens(), texts)
    assert Tokens().ids("text", tf.constant(["a"]), statistics).shape == (1, 4)
    assert Tokens(max_tokens=7).ids("text", tf.constant(["a"]), statistics).shape == (1, 7)
    long = learned(Tokens(), [["a " * 2000]])
    assert Tokens().ids("text", tf.constant(["a"]), long).shape == (1, 512)


def test_keras_own_word_for_unknown_is_a_word():
    tokens = Tokens(standardize=None, max_tokens=2)
    statistics = learned(tokens, [["[UNK] [UNK] x"]])
    assert tokens.ids("text", tf.constant(["[UNK] x", "y"]), statistics).numpy().tolist() == [[2, 3], [1, 0]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"vocabulary_size": 2}, "vocabulary_size must be at least 3, got 2"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"standardize": "upper"}, "standardize must be one of .*, got 'upper'"),
        ({"split": "comma"}, "split must be 'whitespace' or 'character', got 'comma'"),
        ({"ngrams": 0}, "ngrams must be at least 1, got 0"),
    ],
)
def test_settings_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        Tokens(**wrong)
