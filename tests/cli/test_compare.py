import json


def jobs(answering):
    router = answering()
    for number, beta in ((1, 0.1), (2, 0.5)):
        import httpx

        url = f"http://hosted.test/v1/fine-tunes/ft-{number}"
        job = {"id": f"ft-{number}", "status": "completed", "training_method": {"method": "dpo", "dpo_beta": beta}}
        rows = [{"train/global_step": 5, "eval/loss": 0.5, "eval/reward/accuracy": 0.6 + beta}]
        for path, answer in (
            ("", job),
            ("/metrics", {"metrics": rows}),
            ("/checkpoints", {"data": []}),
            ("/events", {"data": []}),
        ):
            router.get(url + path).mock(httpx.Response(200, json=answer))


def test_jobs_are_compared(run, answering):
    jobs(answering)
    code, out, err = run("compare", "ft-1", "ft-2")
    assert (code, err) == (0, "")
    assert "training_method.dpo_beta  0.1   0.5\n" in out
    assert "Best: ft-2 at step 5, by reward accuracy 110.0%" in out


def test_json_has_the_comparison(run, answering):
    jobs(answering)
    told = json.loads(run("compare", "ft-1", "ft-2", "--json")[1])
    assert (told["version"], told["comparison"]["best"]) == (1, "ft-2")


def test_a_page_is_written(run, answering, folder):
    jobs(answering)
    assert run("compare", "ft-1", "ft-2", "-o", "page.html") == (0, "page.html\n", "")
    assert (folder / "page.html").read_text().startswith("<!doctype html>")


def test_one_job_is_no_comparison(run, answering):
    jobs(answering)
    assert run("compare", "ft-1")[::2] == (
        2,
        "preftune: compare: expected at least two different jobs, found ft-1; name each once\n",
    )
