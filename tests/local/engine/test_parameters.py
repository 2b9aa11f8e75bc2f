import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from preftune.local.engine.model import base_weights
from preftune.local.engine.parameters import Full, Gradients, LowRank, Weights, copied


def floats(values: ArrayLike) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def ids(*rows: int) -> NDArray[np.uint16]:
    return np.array(rows, np.uint16)


def small() -> Weights:
    """A table of three rows, a matrix and a bias."""
    return {"table": floats([[1, 2], [3, 4], [5, 6]]), "matrix": floats([[1, 0], [0, 1]]), "bias": floats([7, 8])}


def adapter() -> LowRank:
    """An adapter of rank 1 and scale 2, worked by hand: B @ A of the table is rows (1, 10), (2, 20), (3, 30)."""
    made = LowRank(small(), rank=1, alpha=2, seed=0)
    made.trained["table.lora_A"][:] = [[1, 10]]
    made.trained["table.lora_B"][:] = [[1], [2], [3]]
    made.trained["matrix.lora_A"][:] = [[1, -1]]
    made.trained["matrix.lora_B"][:] = [[4], [5]]
    return made


def random_adapter(*, rank: int, alpha: float) -> LowRank:
    """An adapter whose B is random as well, on a random model."""
    random = np.random.default_rng(3)
    base = {"table": floats(random.normal(0, 1, (9, 4))), "matrix": floats(random.normal(0, 1, (4, 6)))}
    made = LowRank(base | {"bias": floats(random.normal(0, 1, 6))}, rank=rank, alpha=alpha, seed=1)
    for name, array in made.trained.items():
        if name.endswith("lora_B"):
            array[:] = random.normal(0, 1, array.shape)
    return made


# --- gradients


def test_the_norm_is_euclidean_over_everything():
    rows = {"prompt": (ids(7), floats([[4.0, 0.0]]))}
    gradients = Gradients({"output.bias": floats([3.0]), "b": np.full(4, 6.0, np.float32)}, rows)
    assert gradients.norm() == 13.0  # 9 + 144 + 16 = 169


def test_no_gradient_has_no_length():
    assert Gradients({}, {}).norm() == 0.0


# --- everything


def test_full_trains_shows_and_merges_the_arrays_themselves():
    weights = small()
    full = Full(weights)
    assert full.trained is full.merged() is weights
    assert full.whole("bias") is weights["bias"]
    np.testing.assert_array_equal(full.rows("table", ids(2, 0, 2)), [[5, 6], [1, 2], [5, 6]])


def test_full_takes_the_gradient_as_it_is():
    seen = Gradients({"bias": floats([1, 2])}, {"table": (ids(1), floats([[3, 4]]))})
    assert Full(small()).pull_back(seen) is seen


# --- an adapter


def test_every_matrix_has_an_adapter_of_the_rank_and_no_bias_has():
    made = LowRank(base_weights(), rank=5, alpha=10, seed=42)
    tables = ("context_1", "context_2", "context_3", "context_5", "prompt")
    assert {name: (array.shape, array.dtype) for name, array in made.trained.items()} == {
        **{f"{name}.lora_A": ((5, 32), np.float32) for name in tables},
        **{f"{name}.lora_B": ((65_536, 5), np.float32) for name in tables},
        "output.weight.lora_A": ((5, 257), np.float32),
        "output.weight.lora_B": ((32, 5), np.float32),
    }
    assert (made.rank, made.alpha) == (5, 10)


@pytest.mark.parametrize("rank", [1, 16, 64])
def test_an_adapted_model_begins_as_its_base_bit_for_bit(rank):
    base, made = base_weights(), LowRank(base_weights(), rank=rank, alpha=2 * rank, seed=1)
    base["prompt"][5] = made._base["prompt"][5] = 0.1
    some = np.arange(0, 65_536, 11, dtype=np.uint16)
    merged = made.merged()
    assert list(merged) == list(base)
    for name, array in base.items():
        np.testing.assert_array_equal(merged[name], array)
        np.testing.assert_array_equal(made.whole(name), array)
        if array.ndim == 2 and name != "output.weight":
            np.testing.assert_array_equal(made.rows(name, some), array[some])


def test_a_is_random_by_the_seed_alone_with_a_variance_of_one_over_the_rank():
    first, again, other = (LowRank(base_weights(), rank=16, alpha=32, seed=seed).trained for seed in (1, 1, 2))
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array)
        assert array.any() == name.endswith("lora_A")
        assert (other[name] == array).all() == name.endswith("lora_B")
    values = np.concatenate([array.ravel() for name, array in first.items() if name.endswith("lora_A")])
    assert (values.mean(), values.std()) == (pytest.approx(0, abs=0.01), pytest.approx(0.25, rel=0.02))


def test_what_an_adapted_model_shows_by_hand():
    made = adapter()
    np.testing.assert_array_equal(made.rows("table", ids(2, 0, 2)), [[11, 66], [3, 22], [11, 66]])
    np.testing.assert_array_equal(made.whole("table"), [[3, 22], [7, 44], [11, 66]])
    np.testing.assert_array_equal(made.whole("matrix"), [[9, -8], [10, -9]])
    np.testing.assert_array_equal(made.whole("bias"), [7, 8])


def test_no_rows_are_shown_as_none():
    assert adapter().rows("table", ids()).shape == (0, 2)


def test_the_gradient_of_an_adapter_by_hand():
    dense = {"matrix": floats([[1, 2], [3, 4]]), "bias": floats([1, 1])}
    found = adapter().pull_back(Gradients(dense, {"table": (ids(0, 2), floats([[1, 2], [3, 4]]))}))
    assert {name: array.tolist() for name, array in found.dense.items()} == {
        "matrix.lora_A": [[38, 56]],  # 2 * (4, 5) @ ((1, 2), (3, 4))
        "matrix.lora_B": [[-2], [-2]],  # 2 * ((1, 2), (3, 4)) @ (1, -1)
        "table.lora_A": [[20, 28]],  # 2 * (1, 3) @ ((1, 2), (3, 4)): rows 0 and 2 of B
    }
    ((name, (rows, values)),) = found.rows.items()
    assert (name, rows.tolist(), values.tolist()) == ("table.lora_B", [0, 2], [[42], [86]])  # 2 * (1, 2) @ (1, 10), …


@pytest.mark.parametrize(("rank", "alpha"), [(1, 1), (2, 8), (3, 2), (5, 10)])
def test_the_gradient_of_an_adapter_agrees_with_central_differences_of_what_it_shows(rank, alpha):
    made, random = random_adapter(rank=rank, alpha=alpha), np.random.default_rng(5)
    some, pulls = ids(1, 4, 7), {"table": random.normal(0, 1, (3, 4)), "matrix": random.normal(0, 1, (4, 6))}
    seen = Gradients({"matrix": floats(pulls["matrix"])}, {"table": (some, floats(pulls["table"]))})
    gradients = made.pull_back(seen)

    def loss() -> float:
        shown = {"table": made.rows("table", some), "matrix": made.whole("matrix")}
        return sum(float((pulls[name] * array).sum()) for name, array in shown.items())

    for name, array in made.trained.items():
        found = gradients.dense.get(name, np.zeros_like(array))
        if name in gradients.rows:
            rows, values = gradients.rows[name]
            found[rows] = values
        for at in np.ndindex(array.shape):
            middle, ends = array[at], []
            for sign in (1, -1):
                array[at] = middle + sign * np.float32(0.25)  # what is shown is linear in A and in B
                ends.append(loss())
            array[at] = middle
            assert found[at] == pytest.approx((ends[0] - ends[1]) / 0.5, rel=1e-4, abs=1e-4), (name, at)


@pytest.mark.parametrize(("rank", "alpha"), [(1, 1), (2, 8), (5, 10)])
def test_merged_is_what_rows_and_whole_show(rank, alpha):
    made = random_adapter(rank=rank, alpha=alpha)
    merged = made.merged()
    for name, array in merged.items():
        np.testing.assert_array_equal(made.whole(name), array)
    np.testing.assert_allclose(made.rows("table", ids(*range(9))), merged["table"], rtol=1e-5, atol=1e-6)
    formula = made._base["table"] + alpha / rank * (made.trained["table.lora_B"] @ made.trained["table.lora_A"])
    np.testing.assert_allclose(merged["table"], formula, rtol=1e-5, atol=1e-6)


def test_reading_an_adapted_model_changes_nothing():
    base = small()
    made = LowRank(base, rank=1, alpha=2, seed=0)
    for name, array in made.trained.items():
        array[:] = 3 if name.endswith("lora_B") else array
    before = copied(made.trained)
    made.rows("table", ids(0, 1))[:] = 99
    made.merged()["table"][:] = 99
    made.whole("matrix")[:] = 99
    for found, expected in ((base, small()), (made.trained, before)):
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


# --- copies


def test_a_copy_does_not_change_with_the_original():
    weights = small()
    kept = copied(weights)
    weights["bias"][:] = 0
    assert list(kept) == list(weights)
    np.testing.assert_array_equal(kept["bias"], [7, 8])
