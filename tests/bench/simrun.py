"""What the searches and tables share: one simulation in this process's children, and the simulator's
split of the rows in Python."""
import contextlib
import gzip
import hashlib
import json
import pathlib
import re
import subprocess
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
MASK = 2**64 - 1


class Simulator:
    """The built tributary-sim, and a folder for what it writes."""

    def __init__(self, build):
        self.program = pathlib.Path(build) / "simulations/tributary-sim"
        self.dir = tempfile.TemporaryDirectory(prefix="trib-bench-")
        words = [self.program, "run", "--help"]
        told = subprocess.run(words, capture_output=True, text=True, check=True)
        flag = "--accept-drowned-signal"
        self.flags = [flag] if flag in told.stdout + told.stderr else []

    def run(self, scenario, settings, mode="inprocess"):
        """The last event of a run, with "snr" (None: no noise) and "held_out" from its first lines.

        Masks are left out in process: they cancel, and the bytes are the same without.
        """
        words = [self.program, "run", scenario, "--mode", mode, "--json", "--out", self.dir.name,
                 *self.flags]
        if mode == "inprocess":
            words += ["--set", "secagg.inprocess_masks=no"]
        for key, value in settings.items():
            words += ["--set", f"{key}={value}"]
        told = subprocess.run(words, capture_output=True, text=True, check=False)
        if told.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, words))}\n{told.stderr}")
        last = json.loads(told.stdout.splitlines()[-1])
        snr = re.search(r"predicted SNR ([0-9.e+-]+)", told.stderr)
        last["snr"] = float(snr[1]) if snr else None
        last["held_out"] = int(re.search(r"(\d+) held out", told.stderr)[1])
        return last

    def accuracy(self, scenario, settings):
        """Held-out accuracy of the model that a run publishes, measured once, at the end."""
        last = self.run(scenario, {"round.eval_every": settings["round.rounds"], **settings})
        if last["metric"] != "accuracy":
            raise RuntimeError(f"{scenario}: the metric is {last['metric']}, not accuracy")
        return last["value"]


def rotate_left(x, k):
    return (x << k | x >> (64 - k)) & MASK


def is_held_out(seed, row, fraction):
    """simulations/scenario.c is_held_out: the first number of the row's own stream (rand.c)."""
    name = seed.to_bytes(8, "little") + b"split\0" + row.to_bytes(8, "little")
    state = hashlib.blake2b(name, digest_size=32).digest()
    second = int.from_bytes(state[8:16], "little")
    number = rotate_left(second * 5 & MASK, 7) * 9 & MASK  # xoshiro256**
    return (number >> 11) * 2.0**-53 < fraction


def read_ini(path):
    """{"section.key": value} of a scenario."""
    values, section = {}, ""
    for line in pathlib.Path(path).read_text().splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and line[0] not in "#;":
            key, value = line.split("=", 1)
            values[f"{section}.{key.strip()}"] = value.strip()
    return values


def training_lines(simulator, scenario):
    """The lines of a scenario's CSV that it does not hold out. Nothing else may be seen by a search."""
    ini = read_ini(scenario)
    if ini["data.format"] != "csv" or ini.get("data.header", "no") != "no":
        raise SystemExit(f"{scenario}: wants csv data without a header")
    path = pathlib.Path(scenario).parent / ini["data.train"]
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with contextlib.closing(opened) as file:
        lines = file.read().splitlines()
    seed = int(ini.get("data.split_seed", "1"))
    fraction = float(ini["data.test_fraction"])
    held_out = [is_held_out(seed, row, fraction) for row in range(len(lines))]
    check_split(simulator, scenario, held_out, seed, fraction)
    return [line for line, is_out in zip(lines, held_out) if not is_out]


def check_split(simulator, scenario, held_out, seed, fraction):
    """Let the simulator itself say that `held_out` are exactly the rows which it holds out.

    Label every row with whether we think that it is held out. A model without features that trains
    on the other rows sees one label only and answers with that one; when it is wrong on all the rows
    that the simulator holds out, they all are among ours, and when they are as many, they are ours.
    """
    fake = pathlib.Path(simulator.dir.name) / "split.csv"
    fake.write_text("".join(f"0,{int(is_out)}\n" for is_out in held_out))
    last = simulator.run(scenario, {
        "model.spec": "1 - dense 1 sigmoid", "data.train": fake, "data.test_fraction": fraction,
        "data.split_seed": seed, "partition.clients": 1, "privacy.mode": "off", "round.cohort": 1,
        "round.rounds": 3, "round.local_epochs": 10, "round.batch": 0, "round.learning_rate": 1,
        "round.eval_every": 1, "privacy.target_epsilon": 0, "privacy.clip_l2": 0,
        "strategy.server_learning_rate": 1})
    if last["value"] != 0 or last["held_out"] != sum(held_out):
        raise SystemExit(f"{scenario}: Python and the simulator split the rows differently")
