"""`cohortseg check-cluster`: ask SLURM whether what the profile says of the site is so, before a job waits for it."""

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cohortseg.errors import StudyError

OPTIONS = ("gpus", "gres")
"""How a cluster is asked for cards."""
UNLIMITED = ("UNLIMITED", "INFINITE", "NONE", "")


@dataclass(frozen=True)
class Finding:
    """One answer of the site: right, or what to change."""

    right: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok   ' if self.right else 'WRONG'} {self.text}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The profile, and whether to send a test job."""
    parser.add_argument("--profile", type=Path, default=Path("slurm"), metavar="DIR", help="default: ./slurm")
    parser.add_argument(
        "--submit", action="store_true", help="also let SLURM judge a job for each partition; none is started"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each answer.

    Raises
    ------
    StudyError
        When the profile cannot be read, or an answer is wrong.
    """
    site, partitions = read_site(arguments.profile)
    findings = check(site, partitions, submit=arguments.submit)
    for finding in findings:
        print(finding)
    sys.stdout.flush()
    n_wrong = sum(not finding.right for finding in findings)
    if n_wrong:
        raise StudyError(
            f"{n_wrong} of {len(findings)} answers are wrong; change them at the head of profile.yaml, "
            f"or in partitions.yaml, of {arguments.profile}"
        )


def read_site(profile: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What a site filled in: the variables of the profile, and the partitions with their limits.

    Raises
    ------
    StudyError
        When a file is missing or no YAML, or lacks its part.
    """
    try:
        site = yaml.safe_load((profile / "profile.yaml").read_text())["__variables__"]
        partitions = yaml.safe_load((profile / "partitions.yaml").read_text())["partitions"]
    except FileNotFoundError as error:
        raise StudyError(
            f"no {Path(error.filename).name} in {profile}; start from the root of the repository"
        ) from None
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise StudyError(f"the profile {profile} cannot be read: {error}") from None
    return dict(site), {str(name): dict(limits or {}) for name, limits in partitions.items()}


def check(site: dict[str, Any], partitions: dict[str, dict[str, Any]], *, submit: bool) -> list[Finding]:
    """All answers, in the order in which one would mend them."""
    pinged = ask("scontrol", "ping")
    if pinged is None or " UP" not in pinged:
        return [Finding(False, "`scontrol ping` names no controller that is up: is this a login node of the cluster?")]
    findings = [Finding(True, "the controller answers")]
    for name, limits in partitions.items():
        findings += _check_partition(name, limits)
    findings += [_check_card_somewhere(partitions), *_check_training(site, partitions)]
    if site.get("gpu_model"):
        findings.append(_check_gpu_model(str(site["gpu_model"]), partitions))
    if site.get("gpu_option", "gpus") not in OPTIONS:
        findings.append(Finding(False, f"gpu_option {site['gpu_option']}: choices: {', '.join(OPTIONS)}"))
    if site.get("account"):
        findings.append(_check_account(str(site["account"])))
    findings.append(_check_memory_of_jobs())
    if submit and all(finding.right for finding in findings):
        findings += [_check_submission(name, limits, site) for name, limits in partitions.items()]
    return findings


def _check_partition(name: str, limits: dict[str, Any]) -> list[Finding]:
    """The partition is there and up, and gives what the profile says that it gives."""
    told = ask("scontrol", "show", "partition", name, "--oneliner")
    if told is None:
        there = ", ".join((ask("sinfo", "--noheader", "--format=%R") or "none").split())
        return [Finding(False, f"partition {name}: not on this cluster, which has {there}")]
    fields = dict(re.findall(r"(\w+)=(\S*)", told))
    findings = [Finding(fields.get("State") == "UP", f"partition {name}: {fields.get('State')}")]
    found = {"max_runtime": minutes_of(fields.get("MaxTime", "")), **_largest_node(name)}
    for limit in ("max_runtime", "max_mem_mb", "max_threads", "max_gpu"):
        asked, gives = limits.get(limit), found.get(limit)
        if gives is None:
            continue
        if asked is None:
            findings.append(Finding(False, f"partition {name}: {limit} is not set, the cluster gives {gives}"))
        else:
            words = f"{limit} {asked}" + (f", the cluster gives {gives} at most" if asked > gives else "")
            findings.append(Finding(asked <= gives, f"partition {name}: {words}"))
    return findings


def minutes_of(text: str) -> int | None:
    """Minutes of a time limit of SLURM (`[days-]hours:minutes:seconds`); None for no limit."""
    if text in UNLIMITED:
        return None
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes = [*parts, 0, 0][:2]
    return int(days or 0) * 1440 + hours * 60 + minutes


def _largest_node(partition: str) -> dict[str, int]:
    """CPUs, memory and cards of the largest node of a partition."""
    rows = [
        line.split("|")
        for line in (
            ask("sinfo", "--noheader", "--Node", f"--partition={partition}", "--format=%c|%m|%G") or ""
        ).splitlines()
    ]
    if not rows:
        return {}
    return {
        "max_threads": max(int(row[0]) for row in rows),
        "max_mem_mb": max(int(row[1].rstrip("+")) for row in rows),
        "max_gpu": max(sum(cards_in(row[2]).values()) for row in rows),
    }


def cards_in(gres: str) -> dict[str, int]:
    """Cards by type in a GRES text such as `gpu:a100:4(S:0-1)`; the type is empty where it is not told."""
    cards: dict[str, int] = {}
    for part in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *rest = part.split(":")
        if name == "gpu" and rest:
            kind = rest[0] if len(rest) > 1 else ""
            cards[kind] = cards.get(kind, 0) + int(rest[-1])
    return cards


def _check_card_somewhere(partitions: dict[str, dict[str, Any]]) -> Finding:
    with_cards = [name for name, limits in partitions.items() if limits.get("max_gpu")]
    if with_cards:
        return Finding(True, f"networks go to {', '.join(with_cards)}")
    return Finding(
        False, "no partition has max_gpu above 0: a network finds no place (or train on CPUs: docs/cluster.md)"
    )


def _check_training(site: dict[str, Any], partitions: dict[str, dict[str, Any]]) -> list[Finding]:
    """A training job fits in time and CPUs into a partition with cards."""
    rooms = [limits for limits in partitions.values() if limits.get("max_gpu")]
    findings = []
    for variable, limit in (("train_minutes", "max_runtime"), ("threads", "max_threads")):
        most = max((limits.get(limit, float("inf")) for limits in rooms), default=float("inf"))
        asked = site.get(variable, 0)
        words = f"{variable} {asked}" + (
            f": no partition with cards gives more than {most:.0f}" if asked > most else ""
        )
        findings.append(Finding(asked <= most, words))
    return findings


def _check_gpu_model(model: str, partitions: dict[str, dict[str, Any]]) -> Finding:
    known = {
        kind
        for name, limits in partitions.items()
        if limits.get("max_gpu")
        for gres in (ask("sinfo", "--noheader", f"--partition={name}", "--format=%G") or "").split()
        for kind in cards_in(gres)
        if kind
    }
    return Finding(
        model in known, f"gpu_model {model}" + ("" if model in known else f": choices: {', '.join(sorted(known))}")
    )


def _check_account(account: str) -> Finding:
    """Snakemake's executor asks the accounting whether the account exists, and stops where nobody answers."""
    told = ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", "format=account")
    if told is None:
        return Finding(
            False, f"account {account}: this cluster keeps no accounts (`sacctmgr` does not answer); set account: null"
        )
    known = sorted(set(told.split()))
    return Finding(
        account in known, f"account {account}" + ("" if account in known else f": choices: {', '.join(known)}")
    )


def _check_memory_of_jobs() -> Finding:
    """Ended jobs must stay known for longer than the pause between two looks at the queue."""
    found = re.search(r"MinJobAge\s*=\s*(\d+)", ask("scontrol", "show", "config") or "")
    seconds = int(found[1]) if found else 0
    return Finding(
        seconds >= 60,
        f"ended jobs stay known for {seconds} s"
        + ("" if seconds >= 60 else ": too short for squeue; set slurm-status-command: sacct in profile.yaml"),
    )


def _check_submission(partition: str, limits: dict[str, Any], site: dict[str, Any]) -> Finding:
    """Whether SLURM takes a job of a minute (`sbatch --test-only` starts nothing)."""
    command = ["sbatch", "--test-only", f"--partition={partition}", "--time=1", "--mem=500", "--wrap=hostname"]
    if limits.get("max_gpu"):
        model = f"{site['gpu_model']}:" if site.get("gpu_model") else ""
        command.append(f"--gres=gpu:{model}1" if site.get("gpu_option") == "gres" else f"--gpus={model}1")
    for name in ("account", "qos"):
        if site.get(name):
            command.append(f"--{name}={site[name]}")
    command += str(site.get("options") or "").split()
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    lines = done.stderr.strip().splitlines() or [""]
    return Finding(done.returncode == 0, f"partition {partition}: {lines[-1].removeprefix('sbatch: ')}")


def ask(*command: str) -> str | None:
    """What a command of SLURM prints; None where it fails, hangs or is not there."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
