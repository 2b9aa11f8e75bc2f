import pytest

from preftune.api.steps import Request, Response
from preftune.client.connection import Connection
from preftune.client.exchange import answer
from preftune.errors import BadRequestError


@pytest.mark.parametrize(
    ("key", "said"), [("secret-key-of-mine", "the key … is unknown"), ("unknown", "the key unknown is unknown")]
)
def test_an_echoed_key_is_cut_out_unless_it_is_but_a_word(key, said):
    request = Request("GET", "/x")
    came = Response(400, {}, f'{{"error": {{"message": "the key {key} is unknown"}}}}'.encode(), request)
    with pytest.raises(BadRequestError) as error:
        answer(request, came, Connection(api_key=key))
    assert str(error.value) == f"GET /x: 400, {said}"
