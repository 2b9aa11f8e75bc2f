import pytest

from preftune.api.polling import Patience, Pauses
from preftune.api.steps import Now, Sleep


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
    play(patience.bear(refused(503, retry_after=4.0)), (Now(), 9.9), (Sleep(4.0), None))
    with pytest.raises(type(refused(503))):
        play(patience.bear(refused(503)), (Now(), 13.9))


def test_what_does_not_pass_is_not_borne(play, refused):
    with pytest.raises(type(refused(404))):
        play(Patience().bear(refused(404)), (Now(), 0.0))
