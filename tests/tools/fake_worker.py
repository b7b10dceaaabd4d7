# SPDX-License-Identifier: Apache-2.0
"""A worker for tests of the launcher: does what its arguments say, whatever starts it.

    fake_worker.py ACTION:RANK[:TEXT] ...        actions in this order, each for one rank or `all`

print:R:TEXT; sleep:R:SECONDS; exit:R:STATUS; kill:R:SIGNAL (itself); child:R:SECONDS (starts a child that sleeps);
record:R:CHECKPOINT (writes the run file); newest:R (prints what is in it); until:R:FILE (waits for it); touch:R:FILE;
once:R:FILE (goes on with what follows only where FILE is not there, and makes it); catch:R:TEXT (SIGTERM: prints it,
ends with 0); slow:R:SECONDS (SIGTERM: prints "saved" after so long, ends with 0); ignore:R (SIGTERM). The scheduler of
msrun waits until it is killed.
"""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.training import restart_file


def catch(seconds, text):
    def end(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(seconds)
        print(text, flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)


def main() -> int:
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        time.sleep(float(os.environ.get("SCHEDULER_SECONDS", "60")))
        return 0
    own_rank = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["RANK_ID"]
    for word in sys.argv[1:]:
        action, rank, text = (word.split(":", 2) + ["", ""])[:3]
        if rank not in ("all", own_rank):
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
            subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({text})"])
        elif action == "record":
            restart_file.record(Path(text))
        elif action == "newest":
            print(restart_file.newest_checkpoint(), flush=True)
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
            catch(0, text)
        elif action == "slow":
            catch(float(text), "saved")
        elif action == "ignore":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            raise ValueError(word)
    return 0


if __name__ == "__main__":
    sys.exit(main())
