# SPDX-License-Identifier: Apache-2.0
"""Which model a command line means."""
import pytest

from dependency.errors import InputError
from src import models
from src.cli.arguments import idle_options, parse
from src.cli.options import flat


@pytest.mark.parametrize("argv, name", [
    ([], "retinaface"), (["--is_distributed"], "retinaface"), (["--device_target", "CPU"], "retinaface"),
    (["--batch_size=4"], "retinaface"), (["--lr=5e-4", "--per_batch_size=8"], "centerface"),
    (["--annot_path", "train.json", "--weight_decay=0"], "centerface"),
    (["--epochs=3", "--backbone=resnet50"], "retinaface"), (["--data=a.yaml", "--input_res=64"], "centerface"),
    (["--resume_net=a.ckpt", "--lr=1"], "retinaface"), (["--lr=1", "--optimizer=sgd"], "centerface"),
    (["--model=centerface", "--seed", "3"], "centerface"), (["--model", "retinaface", "--seed=3"], "retinaface"),
    (["--model=retinaface", "--seed=3", "--model=centerface"], "centerface")])
def test_the_manuals_commands_name_their_model(argv, name):
    found, rest = models.select(argv, default="retinaface")
    assert found == name and rest == [word for word in argv if word not in (
        "--model=centerface", "--model=retinaface", "--model", "retinaface")]


def test_a_configuration_file_names_the_model(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model: centerface\nseed: 3\n")
    assert models.select([f"--config_path={path}"], "retinaface")[0] == "centerface"
    path.write_text("per_batch_size: 3\n")
    assert models.select(["--config_path", str(path)], "retinaface")[0] == "centerface"


@pytest.mark.parametrize("argv, message", [
    (["--lr=1", "--batch_size=2"], "--lr of centerface; --batch_size of retinaface; say which with --model"),
    (["--data=a.yaml", "--lr=1"], "--data is an option of both models; say which one: --model centerface"),
    (["--epochs=3"], "--model centerface or --model retinaface"), (["--initial_lr=1", "--max_epoch=2"], "two models"),
    (["--model=yolo"], "no model 'yolo': expected one of centerface, retinaface")])
def test_what_cannot_be_meant(argv, message):
    with pytest.raises(InputError, match=message):
        models.select(argv, "retinaface")


@pytest.mark.parametrize("name, words, idle", [
    ("centerface", "--data_anchor off --crop_scales 0.5,1", ["crop_scales"]),
    ("centerface", "--lr_scheduler cosine --lr_epochs 3 --lr_gamma 0.5 --t_max 7 --eta_min 1e-5",
     ["lr_epochs", "lr_gamma", "t_max"]),
    ("centerface", "--lr_epochs 3 --eta_min 1e-5 --momentum 0.5", ["eta_min", "momentum"]),
    ("centerface", "--lr_scheduler cosine_annealing --t_max 200 --optimizer sgd --momentum 0.5 --sync_bn", ["sync_bn"]),
    ("centerface", "--box_loss giou --wh_weight 5 --off_weight 2", ["off_weight"]),
    ("retinaface", "--class_loss focal --neg_pos_ratio 3", ["neg_pos_ratio"]),
    ("retinaface", "--decay1 3 --decay2 5 --gamma 0.5 --momentum 0.5", ["decay1", "decay2", "lr_gamma"]),
    ("retinaface", "--lr_type multistep --decay1 3 --optim adam --momentum 0.5", ["momentum"]),
    ("retinaface", "--matching reference --ignore_tiny 0 --pretrain 0 --pretrain_path a.ckpt",
     ["ignore_tiny", "pretrained_backbone"]),
    ("retinaface", "--matching atss --ignore_tiny 0 --match_thresh 0.5", ["match_thresh"]),
    ("retinaface", "--backbone mobilenet025 --pretrain 0", [])])
def test_options_that_work_only_with_others_are_named(name, words, idle):
    cfg, _ = parse(models.options(name), words.split(), "", presets=models.presets(name))
    problems = idle_options(flat(models.options(name)), cfg, models.option_conditions(name, cfg, 1))
    assert [problem.split()[0] for problem in problems] == [f"--{each}" for each in idle]


@pytest.mark.parametrize("name", models.MODELS)
def test_a_configuration_written_beside_checkpoints_is_read_back(tmp_path, name):
    import yaml

    path = tmp_path / "config.yaml"
    cfg, _ = parse(models.options(name), ["--seed=7"], "")
    path.write_text(yaml.safe_dump({"model": name, **cfg}))
    model, argv = models.select([f"--config_path={path}"], "retinaface")
    again, _ = parse(models.options(model), argv, "")
    assert model == name and {**again, "config_path": ""} == cfg


@pytest.mark.parametrize("name", models.MODELS)
def test_a_spec_agrees_with_itself(name):
    spec = models.spec(name)
    metadata = spec.default_metadata
    assert spec.name == metadata["model"] == name and set(spec.option_rules) >= set(metadata["options"])
    shapes = spec.tensor_shapes(metadata)
    assert spec.assumed_metadata(shapes) == metadata and callable(spec.decoder(metadata))
    assert all(key.startswith("base.") for key in list(shapes)[:100])
