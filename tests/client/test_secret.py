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
