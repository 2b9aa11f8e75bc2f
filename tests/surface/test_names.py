import importlib
import subprocess
import sys

import pytest

import preftune

PUBLIC = [
    "AsyncClient", "Client", "DPO", "FullFineTuning", "JobConfig", "LoRA", "LocalServer", "SFT",
    "check", "convert", "diagnose", "errors", "losses", "pairs", "rehearse", "runs", "sft_then_dpo", "watch",
]  # fmt: skip


def test_the_public_names_are_the_names():
    assert sorted(preftune.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(preftune))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_bound_and_documented(name):
    assert getattr(preftune, name).__doc__


@pytest.mark.parametrize("room", ["errors", "losses", "pairs", "runs", "charts", "api"])
def test_every_name_a_room_offers_is_there(room):
    module = importlib.import_module(f"preftune.{room}")
    for name in getattr(module, "__all__", []):
        assert getattr(module, name) is not None


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'preftune' has no attribute 'Clinet'"):
        _ = preftune.Clinet


def test_python_m_runs_the_command_line():
    done = subprocess.run([sys.executable, "-m", "preftune", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"preftune, version {preftune.__version__}\n"


@pytest.mark.parametrize("room", ["errors", "losses", "pairs", "runs"])
def test_a_room_is_bound_at_its_first_use(room, monkeypatch):
    module = importlib.import_module(f"preftune.{room}")
    monkeypatch.delattr(preftune, room)
    assert getattr(preftune, room) is module
