import json


def test_the_models_stand_one_on_a_line(run, preftune_environment):
    assert "Qwen/Qwen3-8B" in run("models")[1].splitlines()


def test_a_model_is_told_with_its_limits(run, preftune_environment):
    lines = [line.split() for line in run("models", "Qwen/Qwen3-8B")[1].splitlines()]
    assert ["max_num_epochs", "20"] in lines
    assert ["lora_training"] in lines
    assert ["target_modules", "all-linear"] in lines


def test_json_has_the_names_or_the_limits(run, preftune_environment):
    assert json.loads(run("models", "--json")[1])["models"][0] == "Qwen/Qwen3-8B"
    told = json.loads(run("models", "any", "--json")[1])
    assert (told["version"], told["limits"]["model_name"], told["limits"]["max_num_epochs"]) == (1, "any", 20)
