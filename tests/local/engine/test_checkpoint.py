import io
import json
import tarfile
from typing import Any

import numpy as np
import pytest
import zstandard
from safetensors.numpy import load as load_tensors

from preftune.local.engine.checkpoint import (
    adapter_archive,
    load_state,
    load_weights,
    merged_archive,
    save_state,
    save_weights,
    write_whole,
)
from preftune.local.engine.model import WIDTH, base_weights
from preftune.local.engine.parameters import LowRank, Weights
from preftune.local.engine.train import State


def trained() -> Weights:
    """The base model after something like training: some rows of every table, every small array."""
    random, weights = np.random.default_rng(8), base_weights()
    for name, value in weights.items():
        if value.shape[0] > WIDTH and value.ndim > 1:
            value[random.integers(0, value.shape[0], 20)] = random.normal(0, 1, (20, WIDTH))
        else:
            value[:] = random.normal(0, 0.3, value.shape)
        assert value.any(), name
    weights["prompt"][-1, 3] = 1e-30
    return weights


def adapter(*, rank: int = 3, alpha: float = 5) -> LowRank:
    """An adapter after something like training: some rows of every B."""
    random, made = np.random.default_rng(9), LowRank(trained(), rank=rank, alpha=alpha, seed=4)
    for name, value in made.trained.items():
        if name.endswith("lora_B"):
            value[random.integers(0, value.shape[0], 20)] = random.normal(0, 0.5, (20, rank))
    return made


def opened(archive: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(zstandard.ZstdDecompressor().decompress(archive)))


def unpacked(archive: bytes) -> dict[str, bytes]:
    with opened(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def dense(stored: dict[str, Any], like: Weights) -> Weights:
    """Spread stored rows over whole tables, as the format says: `<table>.rows` and `<table>.values`."""
    weights = {name: np.zeros_like(value) for name, value in like.items()}
    for name, value in weights.items():
        if name in stored:
            value[:] = stored[name]
        else:
            value[stored[f"{name}.rows"]] = stored[f"{name}.values"]
    return weights


def assert_same(found: Weights, expected: Weights) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("make", [base_weights, trained])
def test_what_is_saved_is_loaded_bit_for_bit(tmp_path, make):
    weights = make()
    save_weights(weights, tmp_path / "job" / "step-6.safetensors")
    assert_same(load_weights(tmp_path / "job" / "step-6.safetensors"), weights)


def test_an_array_trained_to_zero_is_loaded_as_zero(tmp_path):
    weights = base_weights()
    weights["output.weight"][:] = 0
    save_weights(weights, tmp_path / "w")
    assert_same(load_weights(tmp_path / "w"), weights)


def test_saving_twice_writes_the_same_bytes_over_the_old_and_leaves_nothing_else(tmp_path):
    save_weights(base_weights(), tmp_path / "w")
    save_weights(trained(), tmp_path / "w")
    first = (tmp_path / "w").read_bytes()
    save_weights(trained(), tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_only_rows_that_are_not_zero_take_room(tmp_path):
    save_weights(base_weights(), tmp_path / "w")
    assert (tmp_path / "w").stat().st_size < 40_000  # 33 KiB of output weights; the tables are 8 MiB each


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"old, and longer")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_merged_archive_holds_the_whole_model():
    files = unpacked(merged_archive(trained(), {"b": 2, "a": [1]}))
    assert list(files) == ["model.safetensors", "config.json"]
    assert_same(dense(load_tensors(files["model.safetensors"]), base_weights()), trained())
    assert json.loads(files["config.json"]) == {"b": 2, "a": [1]}


def test_the_adapter_archive_holds_both_matrices_of_every_matrix():
    made = adapter()
    files = unpacked(adapter_archive(made.trained, {"step": 6}))
    assert list(files) == ["adapter_model.safetensors", "adapter_config.json"]
    assert json.loads(files["adapter_config.json"]) == {"step": 6}
    stored = load_tensors(files["adapter_model.safetensors"])
    assert_same(dense(stored, made.trained), made.trained)
    assert {name for name in made.trained if name.endswith("lora_A")} <= set(stored)  # B's tables alone are rows


@pytest.mark.parametrize(("rank", "alpha"), [(1, 2), (3, 5), (16, 32)])
def test_the_base_and_the_adapter_make_the_merged_model(rank, alpha):
    made = adapter(rank=rank, alpha=alpha)
    archive = adapter_archive(made.trained, {"r": made.rank, "lora_alpha": made.alpha})
    files = unpacked(archive)
    about = json.loads(files["adapter_config.json"])
    added = dense(load_tensors(files["adapter_model.safetensors"]), made.trained)
    base, merged = trained(), made.merged()
    for name, value in base.items():
        expected = value
        if value.ndim == 2:
            expected = value + about["lora_alpha"] / about["r"] * (added[f"{name}.lora_B"] @ added[f"{name}.lora_A"])
        np.testing.assert_allclose(merged[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_an_adapter_takes_room_for_the_rows_that_were_trained_alone():
    assert len(adapter_archive(adapter(rank=16).trained, {})) < 50_000  # B of a table is 4 MiB


def test_a_merged_adapter_is_loaded_as_the_model_that_it_makes(tmp_path):
    merged = adapter().merged()
    save_weights(merged, tmp_path / "w")
    assert_same(load_weights(tmp_path / "w"), merged)


@pytest.mark.parametrize("archive", [adapter_archive, merged_archive])
def test_archives_depend_on_weights_and_config_alone(archive):
    weights, again = (trained() | adapter().trained for _ in range(2))
    assert archive(weights, {"a": 1, "b": 2}) == archive(again, {"b": 2, "a": 1})
    assert archive(weights, {"a": 1}) != archive(weights, {"a": 2})
    assert archive(weights, {}) != archive(weights | {"output.bias": np.zeros(257, np.float32)}, {})


@pytest.mark.parametrize("archive", [adapter_archive, merged_archive])
def test_archives_name_no_time_and_no_owner(archive):
    with opened(archive(trained(), {})) as tar:
        facts = {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in tar}
    assert facts == {(0, 0, 0, "", 0o644)}


NUMBERS = {"step": 6, "evals": 3, "waited": 1, "best_step": 4, "best_loss": 0.1 + 0.2, "halted": True}


def state_of(weights: Weights, **numbers: float | None) -> State:
    """A state as a training has it: of each array its moments, and a best one."""
    roles = {"trained": 1.0, "first": -0.3, "second": 1e-30, "best": 7.0}
    arrays = {f"{role}.{name}": value * np.float32(by) for role, by in roles.items() for name, value in weights.items()}
    return State(arrays, NUMBERS | numbers)


def states() -> dict[str, State]:
    return {
        "adapter": state_of(adapter().trained),
        "at its beginning": state_of(base_weights(), step=1, best_step=0, best_loss=None, halted=False),
        "whole model": state_of(trained()),
    }


@pytest.mark.parametrize("which", ["adapter", "at its beginning", "whole model"])
def test_a_state_is_loaded_as_it_was_saved_bit_for_bit(tmp_path, which):
    state, path = states()[which], tmp_path / "job" / "6.state.safetensors"
    save_state(state, path)
    found = load_state(path)
    assert (found.numbers, found.step) == (state.numbers, state.step)
    assert {value.dtype for value in found.arrays.values()} == {np.dtype(np.float32)}
    assert_same(found.arrays, state.arrays)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_state_takes_room_for_the_rows_that_were_trained_alone(tmp_path):
    save_state(state_of(adapter().trained), tmp_path / "state")
    assert (tmp_path / "state").stat().st_size < 100_000  # four whole B of one table are 3 MiB
