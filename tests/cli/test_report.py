import json


def test_a_page_about_a_job_is_written(run, folder, preftune_environment, preftune_job):
    assert run("report", preftune_job.id) == (0, f"{preftune_job.id}.html\n", "")
    page = (folder / f"{preftune_job.id}.html").read_text()
    assert f"<h1>{preftune_job.id}: completed</h1>" in page
    assert "The hosted side would take this file" in page


def test_json_tells_where_it_lies(run, folder, preftune_environment, preftune_job):
    told = json.loads(run("report", preftune_job.id, "-o", "a.html", "--json")[1])
    assert told == {"version": 1, "job": preftune_job.id, "path": "a.html"}


def reported(run, folder, answering, **fields):
    job = {"id": "ft-1", "status": "running", **fields}
    answering(GET_=job, GET_metrics={"metrics": []}, GET_checkpoints={"data": []}, GET_events={"data": []})
    assert run("report", "ft-1")[0] == 0
    return (folder / "ft-1.html").read_text()


def test_what_cannot_be_checked_is_told(run, folder, answering):
    import httpx

    assert "names no training file" in reported(run, folder, answering)
    assert "Supervised rows" in reported(run, folder, answering, training_method={"method": "sft"})
    answering().get("http://hosted.test/v1/files/file-1/content").mock(httpx.Response(404, json={}))
    assert "Not checked: GET /files/file-1/content: 404" in reported(run, folder, answering, training_file="file-1")
