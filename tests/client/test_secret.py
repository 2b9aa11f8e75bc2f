import pickle

import pytest

from preftune.client.secret import Secret


def test_a_secret_shows_itself_to_nobody_but_who_asks():
    secret = Secret("abc")
    assert (repr(secret), str(secret), f"{secret} {[secret]}") == (
        "Secret('…')",
        "Secret('…')",
        "Secret('…') [Secret('…')]",
    )
    assert secret.reveal() == "abc"


def test_an_empty_secret_is_false():
    assert (bool(Secret("")), bool(Secret("a"))) == (False, True)


def test_a_secret_is_not_pickled():
    with pytest.raises(TypeError, match="a key is not pickled; make another client where it is needed"):
        pickle.dumps(Secret("abc"))
