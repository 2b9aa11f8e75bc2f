import pytest

from preftune.api.polling import Patience, Pauses
from preftune.api.steps import Now, Sleep
from preftune.errors import APIError, APIResponseValidationError


def test_pauses_lengthen_while_nothing_comes_and_shorten_while_something_does():
    pauses = Pauses()
    quiet = [pauses.after(progress=False) for _ in range(40)]
    assert quiet[:3] == [0.05, 0.05 * 1.5, 0.05 * 1.5 * 1.5]
    assert quiet[-1] == 10.0
    busy = [pauses.after(progress=True) for _ in range(40)]
    assert busy[:3] == [10.0, 5.0, 2.5]
    assert busy[-1] == 0.05


def test_a_fixed_interval_stays_fixed():
    pauses = Pauses(3.0)
    assert [pauses.after(progress=progress) for progress in (True, False, False)] == [3.0] * 3


def test_patience_waits_longer_after_each_failure_and_forgets(play, dropped):
    patience = Patience()
    play(patience.bear(dropped()), (Now(), 0.0), (Sleep(0.5), None))
    play(patience.bear(dropped()), (Now(), 1.0), (Sleep(1.0), None))
    patience.reset()
    play(patience.bear(dropped()), (Now(), 2.0), (Sleep(0.5), None))


def test_patience_ends_after_a_quarter_of_an_hour_of_uninterrupted_failure(play, dropped):
    patience, error = Patience(), dropped()
    play(patience.bear(error), (Now(), 100.0), (Sleep(0.5), None))
    play(patience.bear(error), (Now(), 1000.0), (Sleep(1.0), None))
    with pytest.raises(type(error)) as raised:
        play(patience.bear(error), (Now(), 1000.1))
    assert raised.value is error


def test_patience_ends_at_its_end(play, refused):
    patience = Patience(end=10.0)
    play(patience.bear(refused(503, retry_after=4.0)), (Now(), 6.0), (Sleep(4.0), None))
    with pytest.raises(type(refused(503))):
        play(patience.bear(refused(503)), (Now(), 10.0))


@pytest.mark.parametrize(("now", "asked", "pause"), [(9.75, 4.0, 0.25), (9.75, None, 0.25), (2.0, 8.0, 8.0)])
def test_no_pause_of_patience_goes_beyond_its_end(play, refused, now, asked, pause):
    play(Patience(end=10.0).bear(refused(503, retry_after=asked)), (Now(), now), (Sleep(pause), None))


def test_what_does_not_pass_is_not_borne(play, refused):
    with pytest.raises(type(refused(404))):
        play(Patience().bear(refused(404)), (Now(), 0.0))


def nonsense():
    return APIResponseValidationError("nonsense", method="GET", path="/x")


def test_nonsense_is_not_borne_from_a_server_that_has_never_made_sense(play, dropped):
    patience, error = Patience(), nonsense()
    play(patience.bear(dropped()), (Now(), 0.0), (Sleep(0.5), None))
    with pytest.raises(APIResponseValidationError) as raised:
        play(patience.bear(error), (Now(), 1.0))
    assert raised.value is error


def test_nonsense_is_borne_as_long_as_an_outage_from_a_server_that_made_sense_before(play):
    patience = Patience()
    patience.reset()
    play(patience.bear(nonsense()), (Now(), 100.0), (Sleep(0.5), None))
    play(patience.bear(nonsense()), (Now(), 1000.0), (Sleep(1.0), None))
    with pytest.raises(APIResponseValidationError):
        play(patience.bear(nonsense()), (Now(), 1000.1))


def test_nonsense_is_not_borne_beyond_the_end(play):
    patience = Patience(end=10.0)
    patience.reset()
    with pytest.raises(APIResponseValidationError):
        play(patience.bear(nonsense()), (Now(), 10.0))


def test_no_other_error_is_borne_because_the_server_made_sense_before(play, refused):
    patience = Patience()
    patience.reset()
    for error in (refused(404), APIError("m", method="GET", path="/x")):
        with pytest.raises(type(error)):
            play(patience.bear(error), (Now(), 0.0))
