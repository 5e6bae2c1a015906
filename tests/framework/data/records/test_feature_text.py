import pytest

import framework
from framework import Feature
from framework.data.records import feature_text, parse_feature


@pytest.mark.parametrize(
    ("text", "feature", "key"),
    [
        ("float32", Feature(), None),
        ("uint8(28, 28)", Feature((28, 28), "uint8"), None),
        ("int64(None)", Feature((None,), "int64"), None),
        ("int64(None, 2) from a/b", Feature((None, 2), "int64"), "a/b"),
        ("string from some key", Feature((), "string"), "some key"),
        ("bfloat16(3)", Feature((3,), "bfloat16"), None),
        ("image(224, 224, 3)", framework.Image((224, 224, 3)), None),
        ("image(224, 224, 1) crop from image/encoded", framework.Image((224, 224, 1), aspect="crop"), "image/encoded"),
        ("image(8, 8, 3) pad", framework.Image((8, 8, 3), aspect="pad"), None),
    ],
)
def test_there_and_back(text, feature, key):
    assert parse_feature(text) == (feature, key)
    assert feature_text(feature, key) == text


@pytest.mark.parametrize(
    ("loose", "text"), [(" float32 ", "float32"), ("int64( None,2 )", "int64(None, 2)"), ("bool(3,)", "bool(3)")]
)
def test_people_write_loosely(loose, text):
    assert feature_text(*parse_feature(loose)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("float33", "isn't a TensorFlow dtype"),
        ("float32(2", "Write a dtype"),
        ("float32(a)", "float32"),
        ("float32(-1)", "negative"),
        ("image", "height, width"),
        ("image(2, 2, 2)", "1 or 3 channels"),
        ("float32(2) crop", "'crop' is for an image"),
        ("", "Write a dtype"),
        (3, "Write a dtype"),
    ],
)
def test_what_is_no_feature(text, says):
    with pytest.raises(ValueError, match=says):
        parse_feature(text)


def test_a_feature_of_ones_own_has_no_text():
    class Sound(Feature):
        pass

    with pytest.raises(TypeError, match="got a Sound"):
        feature_text(Sound((3,)))
