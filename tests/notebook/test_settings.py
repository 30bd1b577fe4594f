"""%mpreg config, below the magic."""

from collections.abc import Iterator

import pytest

from mpreg_lab.errors import MagicError
from mpreg_lab.notebook.settings import SETTINGS, Settings, change, current, reset


@pytest.fixture(autouse=True)
def as_at_first() -> Iterator[None]:
    reset()
    yield
    reset()


@pytest.mark.parametrize("key", SETTINGS)
def test_every_setting_takes_its_example_and_goes_back(key: str):
    first = getattr(current(), key)

    assert getattr(change(key, SETTINGS[key].example), key) != first
    assert current() != Settings()
    assert reset(key) == Settings()


def test_none_takes_a_value_away_where_that_is_possible():
    change("timeout", "60")

    assert change("timeout", "none").timeout is None
    with pytest.raises(MagicError, match="'none' is not a whole number, 0 or more"):
        change("retries", "none")


@pytest.mark.parametrize(
    ("key", "word", "message"),
    [
        ("retires", "2", "there is no setting 'retires'. Did you mean 'retries'?"),
        (
            "timeout",
            "soon",
            "%mpreg config timeout: 'soon' is not a number of seconds. Write, for example: %mpreg config timeout 60",
        ),
        (
            "view",
            "big",
            "%mpreg config view: 'big' is none of live, plain, none. Write, for example: %mpreg config view plain",
        ),
    ],
)
def test_a_wrong_setting_says_what_is_expected(key: str, word: str, message: str):
    with pytest.raises(MagicError) as caught:
        change(key, word)

    assert str(caught.value) == message
    assert current() == Settings()
