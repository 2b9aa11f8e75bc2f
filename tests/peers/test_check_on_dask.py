"""`check` on the processes of a real Dask cluster."""

import importlib.util
import json
import logging
from collections import Counter

import pytest

if importlib.util.find_spec("distributed") is None:
    pytest.skip("distributed is not in this environment: make peers", allow_module_level=True)

import psutil
from distributed import Client, LocalCluster

import preftune as pt
from preftune.pairs import inspection


@pytest.fixture
def cluster():
    """Yield a cluster of two processes that listens on this machine alone; once closed, none of them is left."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as started:
        workers = [child for child in psutil.Process().children(recursive=True) if is_worker(child)]
        yield started
    _, left = psutil.wait_procs(workers, timeout=30)
    assert (len(workers), left) == (2, [])


@pytest.fixture
def executor(cluster, monkeypatch):
    """Yield the cluster's executor, for which a small file is worth many parts; `handed` counts what it was given."""
    monkeypatch.setattr(inspection, "_PART", 10_000)
    monkeypatch.setattr(inspection, "_PLACES", 90)
    with Client(cluster) as client:
        executor = client.get_executor()
        executor.handed, mapped = Counter(), executor.map

        def counting(function, *parts, **options):
            executor.handed[function.func.__name__] += len(parts[0])
            return mapped(function, *parts, **options)

        executor.map = counting
        yield executor


def is_worker(process):
    """Tell whether a process is one of the cluster's, and not the tracker that multiprocessing keeps beside them."""
    return "resource_tracker" not in " ".join(process.cmdline())


def pair_line(number):
    prompt = f"What is written on card {number % 380} of the box?"  # some are asked again
    row = {
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "preferred_output": [
            {"role": "assistant", "content": f"It says {number * number}, in red ink. Die Größe: 三."}
        ],
        "non_preferred_output": [{"role": "assistant", "content": f"I could not say, perhaps {number % 7}"}],
    }
    return json.dumps(row, ensure_ascii=False).encode()


def generated(path):
    """Write 600 lines, most of them plain pairs, some with something to be found, and return the path."""
    lines = [pair_line(number) for number in range(600)]
    lines[17] = lines[599] = lines[3]  # the same pair in the first and in the last part
    lines[120] = b'{"input": 1}'
    lines[301] = b"\xff"
    lines[302] = b""
    lines[450] = lines[450].replace(b'"assistant"', b'"user"', 1)
    lines[577] = lines[577].replace(b"It says", b"[INST] It says" + b" and says" * 400)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@pytest.mark.parametrize("workers", [None, 7])
def test_check_on_a_cluster_gives_the_report_of_one_process(executor, tmp_path, workers):
    path = generated(tmp_path / "pairs.jsonl")
    validation = tmp_path / "validation.jsonl"
    validation.write_bytes(pair_line(5) + b"\n")
    options = {"validation": validation, "max_seq_length": 1_024, "sample": 500}
    alone = pt.check(path, workers=1, **options).to_dict()
    assert pt.check(path, workers=workers, executor=executor, **options).to_dict() == alone
    found = {finding["rule"] for finding in alone["findings"]}
    assert {"keys", "encoding", "blank", "output", "duplicate", "leakage", "template", "truncation"} <= found
    assert executor.handed["scan"] > 10
    assert executor.handed["survey"] > 5


def test_check_with_a_tokenizer_that_cannot_be_sent_gives_the_same_report(executor, tmp_path):
    path = generated(tmp_path / "pairs.jsonl")
    options = {"max_seq_length": 1_024, "tokenizer": lambda text: len(text.split())}
    report = pt.check(path, executor=executor, **options)
    assert report.to_dict() == pt.check(path, workers=1, **options).to_dict()
    assert not report.stats.tokens_estimated


def test_progress_on_a_cluster_ends_at_the_size_of_the_file(executor, tmp_path):
    path = generated(tmp_path / "pairs.jsonl")
    told = []
    pt.check(path, executor=executor, progress=lambda *so_far: told.append(so_far))
    size = path.stat().st_size
    assert told[-1] == (size, size)
    assert told == sorted(told)
    assert len(told) == executor.handed["scan"] > size / 10_000
