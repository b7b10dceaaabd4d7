# SPDX-License-Identifier: Apache-2.0
import re
import shlex

import pytest

from src import models
from src.cli.arguments import read_yaml
from src.cli.options import defaults_of, flat
from src.cli.training_options import RECIPES, read_recipe
from src.retinaface.config import MOBILENET

FILES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
# Of the run, not of the recipe.
OF_A_RUN = {"seed"}


def read(name):
    model = read_yaml(RECIPES / f"{name}.yaml")["model"]
    return model, read_recipe(name, models.options(model), set())


@pytest.mark.parametrize("name", FILES)
def test_every_recipe_is_one_of_the_model_that_it_names(name):
    model, values = read(name)
    assert name.startswith(model) and values["epochs"] > 0
    assert f"configs/{name}.yaml" in (RECIPES / f"{name}.yaml").read_text() or name.endswith(("small_set", "fine_tune"))


@pytest.mark.parametrize("name", FILES)
def test_the_command_at_the_head_of_a_recipe_means_its_model(name):
    head = (RECIPES / f"{name}.yaml").read_text().split("\nmodel:")[0]
    command = shlex.split(re.search(r"python train\.py (.*?[^\\])\n", head, re.DOTALL)[1].replace("\\\n#", " "))
    model, _ = models.select([word.replace("configs/", f"{RECIPES}/") for word in command], "retinaface")
    assert model == read(name)[0]


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith("_manual")])
def test_the_manuals_recipes_are_the_defaults_and_complete(name):
    model, values = read(name)
    table = models.options(model)
    expected = dict(defaults_of(table))
    if "mobilenet025" in name:
        expected.update(MOBILENET, backbone="mobilenet025")
    assert values.pop("scale_lr") is True       # the default, None, scales a rate that is not given
    assert values == {key: expected[key] for key in values}
    for group in ("Augmentation", "Loss", "Optimisation"):
        assert set(table[group]) - OF_A_RUN - {"scale_lr"} <= set(values)


@pytest.mark.parametrize("name", ["centerface_small_set", "retinaface_small_set"])
def test_a_rate_that_the_user_gives_is_not_scaled(name):
    model, values = read(name)
    assert values["scale_lr"] is True
    assert "scale_lr" not in read_recipe(name, models.options(model), {"lr"})
    assert set(values) <= set(flat(models.options(model)))
