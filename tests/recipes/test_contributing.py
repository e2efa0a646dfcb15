"""The recipe that CONTRIBUTING.md shows runs as it stands there."""

import importlib.util
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]


def test_example_of_a_recipe_runs(tmp_path, check_experiment):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.split("## Add a recipe")[1].split("\n## Style")[0]
    for language, suffix in (("python", ".py"), ("markdown", ".md")):
        (code,) = re.findall(rf"```{language}\n(.*?)```", section, flags=re.S)
        (tmp_path / f"my_recipe{suffix}").write_text(code)
    path = tmp_path / "my_recipe.py"
    spec = importlib.util.spec_from_file_location("my_recipe", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    content = check_experiment(module.EXPERIMENT, "--quick")
    assert [claim["held"] for claim in content["claims"]] == [True]
    assert content["title"] == "How activations grow with depth"
