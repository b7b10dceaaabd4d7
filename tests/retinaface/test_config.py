# SPDX-License-Identifier: Apache-2.0
"""The manual's configuration: every key, its and its default."""
import copy

import pytest

from src.cli.options import defaults_of, flat, names_of
from src.config import cfg_mnet025, cfg_res50
from src.retinaface.anchors import anchor_count
from src.retinaface.config import OPTIONS

MANUAL = {
    "variance": [0.1, 0.2], "clip": False, "loc_weight": 2.0, "class_weight": 1.0, "landm_weight": 1.0, "batch_size": 8,
    "num_workers": 8, "num_anchor": 29126, "ngpu": 4, "epoch": 100, "decay1": 70, "decay2": 90, "image_size": 840,
    "match_thresh": 0.35, "optim": "sgd", "warmup_epoch": 5, "initial_lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4,
    "gamma": 0.1, "ckpt_path": "./checkpoint/", "save_checkpoint_steps": 2000, "keep_checkpoint_max": 1,
    "resume_net": None, "pretrain": True, "pretrain_path": "./data/res50_pretrain.ckpt", "seed": 1,
    "lr_type": "dynamic_lr", "val_model": "./checkpoint/ckpt_0/RetinaFace-100_536.ckpt",
    "val_dataset_folder": "./data/widerface/val/", "val_origin_size": False, "val_confidence_threshold": 0.02,
    "val_nms_threshold": 0.4, "val_iou_threshold": 0.5, "val_save_result": False,
    "val_predict_save_folder": "./widerface_result", "val_gt_dir": "./data/ground_truth/"}


def test_the_manuals_keys_and_defaults():
    assert {name: cfg_res50[name] for name in MANUAL} == MANUAL
    assert cfg_res50.batch_size == cfg_res50["batch_size"] and "training_dataset" in cfg_res50


def test_every_key_is_an_option():
    options = flat(OPTIONS)
    assert {*MANUAL, "training_dataset"} <= {*options, *names_of(options)}


def test_the_manuals_names_read_and_set_the_options():
    cfg = defaults_of(OPTIONS)
    cfg["epoch"], cfg.initial_lr = 3, 0.5
    cfg.update({"resume_net": "a.ckpt"})
    again = copy.deepcopy(cfg)
    assert (again.epochs, again["lr"], again.resume, again.get("num_workers")) == (3, 0.5, "a.ckpt", 8)
    assert set(cfg) == set(flat(OPTIONS)) and "optim" in cfg and "epochen" not in cfg
    for read in (lambda: cfg["epochen"], lambda: cfg.epochen):
        with pytest.raises((KeyError, AttributeError)):
            read()


def test_anchors_follow_from_the_image_size():
    for cfg in (cfg_res50, cfg_mnet025):
        assert cfg.num_anchor == anchor_count(cfg.image_size)
