"""A throw-away SLURM cluster on this machine: four virtual nodes, a CPU and a GPU partition, four make-believe GPUs.

No systemd, no cgroups, no database. It needs root and Debian's slurmctld, slurmd, slurm-client and munge. As a script
it starts a cluster, or stops it: `python throwaway.py start|stop FOLDER`.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "munge", "sbatch", "squeue", "scontrol", "scancel")
ETC = Path("/etc/slurm")
"""Jobs find their cluster here alone: the executor takes SLURM_CONF out of the environment of its steps."""
MARK = "# throw-away cluster of the tests of cohortseg\n"
N_CARDS = 4
NODES = ("c1", "c2", "g1", "g2")

SLURM_CONF = """\
ClusterName=throwaway
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmctldPort=16817
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/prolog
TaskEpilog={folder}/epilog
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=30
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
MinJobAge=3600
KillWait=5
InactiveLimit=0
JobRequeue=1
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobcomp.log
DefMemPerCPU=200
OverTimeLimit=0
NodeName=c[1-2] NodeHostname={host} Port=[17001-17002] CPUs=4 RealMemory=12000 State=UNKNOWN
NodeName=g[1-2] NodeHostname={host} Port=[17003-17004] CPUs=4 RealMemory=24000 Gres=gpu:fake:2 State=UNKNOWN
PartitionName=cpu Nodes=c[1-2] Default=YES MaxTime=2880 State=UP
PartitionName=gpu Nodes=g[1-2] MaxTime=2880 State=UP
"""

GRES_CONF = """\
AutoDetect=off
NodeName=g1 Name=gpu Type=fake File={folder}/dev/card[0-1]
NodeName=g2 Name=gpu Type=fake File={folder}/dev/card[2-3]
"""

# One line per task, from inside its environment: what it was given, and when.
PROLOG = """\
#!/bin/sh
echo "{word} $(date +%s.%N) ${{SLURM_JOB_ID-}} ${{SLURM_JOB_PARTITION-}} ${{SLURMD_NODENAME-}} ${{SLURM_STEP_ID-}}" \
 "${{CUDA_VISIBLE_DEVICES-none}}" >> {folder}/log/tasks.log
"""


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    if os.geteuid() != 0:
        return "a throw-away SLURM needs root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client munge"
    config = ETC / "slurm.conf"
    if config.exists() and MARK not in config.read_text():
        return f"{config} belongs to a real cluster"
    if config.exists() and _alive(owner := _said("process", config)):
        return f"process {owner} has a throw-away cluster on this machine already"
    return ""


def _said(word: str, config: Path) -> str:
    """What the first lines of our configuration say of the cluster that was started with it."""
    lines = config.read_text().splitlines()
    return next((line.split(" ", 2)[2] for line in lines if line.startswith(f"# {word} ")), "")


def _alive(pid: str) -> bool:
    return pid != "none" and Path(f"/proc/{pid}").exists()


def start(folder: Path) -> None:
    """Write the configuration, start munge, the controller and the nodes; wait until all nodes are idle.

    A cluster that was left behind by a process that was killed is stopped first.
    """
    if (ETC / "slurm.conf").exists():
        stop(Path(_said("folder", ETC / "slurm.conf")))
    for name in ("state", "log", "run", "dev", *(f"spool/{node}" for node in NODES)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(N_CARDS):
        # Cards must be character devices; a copy of /dev/null will do.
        card = folder / "dev" / f"card{number}"
        if not card.exists():
            subprocess.run(["mknod", "-m", "666", str(card), "c", "1", "3"], check=True)
    for name, word in (("prolog", "begin"), ("epilog", "end")):
        (folder / name).write_text(PROLOG.format(word=word, folder=folder))
        (folder / name).chmod(0o755)
    ETC.mkdir(exist_ok=True)
    values = {"folder": folder, "host": socket.gethostname().split(".")[0]}
    # Started by hand it outlives the process that started it.
    owner = "none" if __name__ == "__main__" else os.getpid()
    about = f"{MARK}# process {owner}\n# folder {folder}\n"
    (ETC / "slurm.conf").write_text(about + SLURM_CONF.format(**values))
    (ETC / "gres.conf").write_text(MARK + GRES_CONF.format(**values))
    _start_munge(folder)
    start_controller()
    for node in NODES:
        start_node(node)
    _wait_for_nodes(seconds=60)


def stop(folder: Path) -> None:
    """Stop every daemon and all that jobs left running, and take the configuration away."""
    subprocess.run(["scancel", "--user=root"], check=False, capture_output=True, timeout=60)
    for path in sorted((folder / "run").glob("*.pid"), reverse=True):
        kill(path, signal.SIGTERM)
    time.sleep(1.0)
    for path in (folder / "run").glob("*.pid"):
        kill(path, signal.SIGKILL)
    for name in ("slurm.conf", "gres.conf"):
        if (ETC / name).exists() and MARK in (ETC / name).read_text():
            (ETC / name).unlink()


def start_controller() -> None:
    """Start (again) the controller."""
    subprocess.run(["/usr/sbin/slurmctld"], check=True)


def start_node(node: str) -> None:
    """Start (again) the daemon of one virtual node."""
    subprocess.run(["/usr/sbin/slurmd", "-N", node], check=True)


def kill(pid_file: Path, number: int) -> None:
    """Send a signal to the daemon of a pid file, when it is there."""
    try:
        os.kill(int(pid_file.read_text()), number)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return


def _start_munge(folder: Path) -> None:
    # A munge of our own with a key of our own: nobody else's is touched.
    key = folder / "run" / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    places = {"key-file": key, "socket": folder / "run" / "munge.socket", "pid-file": folder / "run" / "munged.pid"}
    places |= {"log-file": folder / "log" / "munged.log", "seed-file": folder / "run" / "munge.seed"}
    options = [f"--{name}={path}" for name, path in places.items()]
    subprocess.run(["/usr/sbin/munged", "--force", *options], check=True, capture_output=True)


def _wait_for_nodes(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        told = subprocess.run(["sinfo", "-h", "-N", "-o", "%N %t"], check=False, capture_output=True, text=True).stdout
        if {line.split()[0] for line in told.splitlines() if line.split()[1] == "idle"} == set(NODES):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the throw-away cluster did not come up:\n{told}")


if __name__ == "__main__":
    if problem := missing():
        sys.exit(problem)
    {"start": start, "stop": stop}[sys.argv[1]](Path(sys.argv[2]).resolve())
