# SPDX-License-Identifier: Apache-2.0
"""A worker for tests of the launcher: does what its arguments say, whatever starts it.

    fake_worker.py ACTION:RANK[:TEXT] ...        actions in this order, each for one rank or `all`

print:R:TEXT; sleep:R:SECONDS; exit:R:STATUS; kill:R:SIGNAL (itself); child:R:SECONDS (a child that sleeps, in a
session of its own, whose parent ends); note:R:NAME (writes the run file); until:R:FILE (waits for it); touch:R:FILE;
once:R:FILE (goes on with what follows only where FILE is not there, and makes it); catch:R:TEXT (SIGTERM: prints it,
ends with 0); slow:R:SECONDS (the same after so long); ignore:R (SIGTERM). The scheduler of msrun waits until it is
killed.
"""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        time.sleep(float(os.environ.get("SCHEDULER_SECONDS", "60")))
        return 0
    mine = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["RANK_ID"]
    for word in sys.argv[1:]:
        action, rank, text = (word.split(":", 2) + ["", ""])[:3]
        if rank not in ("all", mine):
            continue
        if action == "print":
            print(text.format(**os.environ), flush=True)
        elif action == "sleep":
            time.sleep(float(text))
        elif action == "exit":
            return int(text)
        elif action == "kill":
            os.kill(os.getpid(), getattr(signal, text))
        elif action == "child":
            sleep = f"import time; time.sleep({text})"
            code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleep!r}])"
            subprocess.run([sys.executable, "-c", code], start_new_session=True, check=True)
        elif action == "note":
            Path(os.environ["FACEDET_RUN_FILE"]).write_text(json.dumps({"checkpoint": f"/c/{text}.ckpt"}))
        elif action == "until":
            while not Path(text).exists():
                time.sleep(0.02)
        elif action == "touch":
            Path(text).touch()
        elif action == "once":
            if Path(text).exists():
                return 0
            Path(text).touch()
        elif action == "catch":
            signal.signal(signal.SIGTERM, lambda *_, text=text: (print(text, flush=True), sys.exit(0)))
        elif action == "slow":
            signal.signal(signal.SIGTERM, lambda *_, text=text: (time.sleep(float(text)), print("saved", flush=True),
                                                                 sys.exit(0)))
        elif action == "ignore":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            raise ValueError(word)
    return 0


if __name__ == "__main__":
    sys.exit(main())
