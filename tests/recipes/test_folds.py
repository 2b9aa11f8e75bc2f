import math
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from preftune import DPO, JobConfig
from preftune.api.models import MetricRow
from preftune.errors import DataError
from preftune.local.engine.encode import cut_pair, encode_pair
from preftune.pairs import PreferencePair
from preftune.recipes import folds as module
from preftune.recipes.folds import Fold, course, method_of, of_seen, of_unseen, run_fold, run_folds

TUNED = JobConfig(model="m", n_epochs=3, batch_size=4, training_type="Full")
JOB = JobConfig(model="m", n_epochs=3, batch_size=4, training_method=DPO(), training_type="Full")
DEAL = np.array([0, 1, 2, 0, 1, 0])


def encoded(numbers, chosen="Sure, take shelf {}.", rejected="Well, that shelf {}."):
    """Return pairs as the engine reads them, whose sides have marks of their own."""
    found = []
    for number in numbers:
        said = ({"role": "assistant", "content": text.format(number)} for text in (chosen, rejected))
        pair = PreferencePair([{"role": "user", "content": f"Where is {number}?"}], *said)
        found.append(encode_pair(cut_pair(pair, 1000)))
    return found


def fold(unseen=1, losses=()):
    """Return a fold of so many pairs held out, and with these losses on them."""
    rows = [MetricRow(step=step, split="eval", loss=loss) for step, loss in enumerate(losses, start=1)]
    return Fold(np.zeros((2, unseen, 2)), np.zeros((2, 0, 2)), rows)


def run(deal=DEAL, workers=1, progress=None):
    return run_folds(list("abcdef"), deal, sft=TUNED, dpo=JOB, workers=workers, progress=progress)


@pytest.fixture
def asked(monkeypatch):
    """Return what each fold is asked; none of them is run."""
    given = []

    def run_fold(seen, unseen, sft, dpo):
        given.append(("".join(seen), "".join(unseen), sft, dpo))
        return fold(len(unseen))

    monkeypatch.setattr(module, "run_fold", run_fold)
    monkeypatch.setattr(module, "startable", lambda: False)
    return given


# All folds


def test_each_fold_is_tuned_on_the_pairs_of_the_others_and_asked_about_its_own(asked):
    found = run()
    assert asked == [("bce", "adf", TUNED, JOB), ("acdf", "be", TUNED, JOB), ("abdef", "c", TUNED, JOB)]
    assert [each.unseen.shape for each in found] == [(2, 3, 2), (2, 2, 2), (2, 1, 2)]


def test_progress_is_told_where_no_process_can_be_started(asked):
    told = []
    run(progress=lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("workers", "count"), [(None, 2), (1, 1), (9, 3)])
def test_processes_are_one_a_core_or_as_stated_and_no_more_than_folds(asked, monkeypatch, workers, count):
    started = []

    def processes(count, environment):
        started.append((count, environment))
        return ThreadPoolExecutor(count)

    monkeypatch.setattr(module, "startable", lambda: True)
    monkeypatch.setattr(module, "cores", lambda: 2)
    monkeypatch.setattr(module, "Processes", processes)
    run(workers=workers)
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    assert started == [(count, one)]


def test_a_process_that_is_lost_is_told(asked, monkeypatch):
    def run_fold(*_):
        raise BrokenExecutor("process 7: expected an answer")

    monkeypatch.setattr(module, "run_fold", run_fold)
    with pytest.raises(DataError) as error:
        run()
    assert str(error.value) == "rehearse: a process that ran a fold was lost (process 7: expected an answer)"


# One fold


def test_what_a_fold_learns_shows_on_the_pairs_it_saw_and_on_the_others():
    found = run_fold(encoded(range(10, 22)), encoded(range(30, 34)), TUNED, JOB)
    assert (found.seen.shape, found.unseen.shape) == ((2, 12, 2), (2, 4, 2))
    for before, after in (found.seen, found.unseen):
        gained = after - before
        assert (gained[:, 0] > gained[:, 1]).all()
    assert (found.seen < 0).all()


def test_a_fold_says_the_same_of_a_pair_on_either_side_and_learns_nothing_from_those_held_out():
    some, others = encoded(range(10, 16)), encoded(range(30, 34), "No.", "Yes.")
    first, second = run_fold(some, some, TUNED, JOB), run_fold(some, others, TUNED, JOB)
    assert first.seen.tolist() == first.unseen.tolist() == second.seen.tolist()


def test_a_fold_begins_at_nothing_learned_and_is_evaluated_six_times():
    config = JOB.replace(n_epochs=6, n_evals=9, early_stopping_enabled=True)
    found = run_fold(encoded(range(10, 18)), encoded(range(30, 34)), TUNED, config)
    looks = [row for row in found.rows if row.split == "eval"]
    assert [row.step for row in looks] == [2, 4, 6, 8, 10, 12]
    assert [row.step for row in found.rows if row.split == "train"] == list(range(1, 13))
    assert found.rows[0].loss == pytest.approx(math.log(2))
    gained = found.unseen[1] - found.unseen[0]
    margins = 0.1 * (gained[:, 0] - gained[:, 1])
    assert looks[-1].loss == pytest.approx(np.mean(np.log1p(np.exp(-margins))), rel=1e-5)


def test_the_rate_of_a_row_is_the_one_of_the_job():
    found = run_fold(encoded(range(10, 14)), encoded([30]), TUNED, JOB.replace(learning_rate=1e-4, lora=False))
    assert max(row.learning_rate for row in found.rows if row.split == "train") == pytest.approx(1e-4)


def test_a_fold_leaves_numpys_warnings_as_they_are():
    before = np.geterr()
    run_fold(encoded(range(4)), encoded([5]), TUNED, JOB)
    assert np.geterr() == before


def test_the_method_is_that_of_the_job():
    assert method_of(JOB.replace(dpo_beta=0.3)) == DPO(dpo_beta=0.3)


# Put together


def test_what_is_said_of_a_pair_stands_in_its_place():
    unseen = np.arange(24.0).reshape(2, 6, 2)
    folds = [Fold(unseen[:, number == DEAL], np.zeros((2, int(np.sum(number != DEAL)), 2)), []) for number in range(3)]
    assert of_unseen(folds, DEAL).tolist() == unseen.tolist()


def test_what_is_said_of_a_pair_by_the_folds_that_saw_it_is_their_mean():
    deal = np.array([2, 0, 1, 0])
    # of the pair at p, the engine of fold f says 100 (f + 1) + 10 p, before; one more for each place behind that
    said = 100 * np.arange(1.0, 4)[:, None, None, None] + 10 * np.arange(4)[:, None]
    said = said + np.arange(4).reshape(2, 1, 2)  # (3, 2, 4, 2)
    folds = [Fold(np.zeros((2, 1, 2)), said[number][:, deal != number], []) for number in range(3)]
    # pair 0 was seen by folds 0 and 1, pairs 1 and 3 by 1 and 2, pair 2 by 0 and 2
    means = np.array([150, 250, 200, 250.0]) + 10 * np.arange(4)
    assert of_seen(folds, deal).tolist() == (means[:, None] + np.arange(4).reshape(2, 1, 2)).tolist()


def test_a_look_is_the_mean_over_the_pairs_of_all_folds():
    assert course([fold(3, (0.5, 0.3)), fold(1, (0.9, 0.7))]) == pytest.approx([0.6, 0.4])


def test_folds_of_other_numbers_of_looks_are_read_equally_far_into_their_runs():
    long = (0.9, 0.6, 0.8, 0.4, 0.7, 0.2)
    assert course([fold(1, (0.6, 0.4, 0.2)), fold(1, long)]) == pytest.approx([0.6, 0.4, 0.2])
    assert course([fold(1, long), fold(1, (0.2,))]) == pytest.approx([0.2])


def test_rows_of_training_and_without_a_loss_are_no_looks():
    one = fold(2, (0.5,))
    one.rows.insert(0, MetricRow(step=1, split="train", loss=9.0))
    one.rows.append(MetricRow(step=2, split="eval", loss=None))
    assert course([one]) == [0.5]
    assert course([fold(2)]) == []
