#!/usr/bin/env python3
"""Each rehearsal that docs/models.md and docs/data.md show works as it stands there, if only for one
round of one pass, and whatever a page describes for training has one."""
import os
import pathlib
import re
import shlex
import shutil
import tempfile

import fleet

PAGES = ["models", "data"]
SHORT = {"round.rounds": 1, "round.local_epochs": 1, "round.target_metric": "none"}
MISSED = 7  # a version that is no better than the baseline, which one round need not be
WORDS = {  # of a model's text, and of keys with a few values
    "model.spec": ["dense", "conv", "maxpool", "dropout", "bilinear", "factors", "relu", "softmax",
                   "sigmoid", "linear"],
    "round.optimizer": ["sgd", "nesterov", "adam"],
    "round.lr_schedule": ["step", "cosine", "plateau"],
    "round.sampling": ["over", "under", "smote"],
    "round.augment": ["shift", "rotate", "crop", "jitter", "mixup"],
    "strategy.name": ["fedadam", "fedavgm", "newton"],
}
DEFAULTS = {"round.optimizer": "sgd"}


def commands(page):
    """(line, words) of each `tributary-sim make` or `run` of a page."""
    text = (fleet.SOURCE / f"docs/{page}.md").read_text()
    for found in re.finditer(r"^    tributary-sim ((?:make|run) (?:.*\\\n)*.*)$", text, re.MULTILINE):
        line = text.count("\n", 0, found.start()) + 1
        yield f"docs/{page}.md:{line}", shlex.split(found[1].replace("\\\n", " "))


def settings(words):
    """What a command sets, over what its scenario says."""
    found, section = dict(DEFAULTS), ""
    for line in (fleet.SOURCE / words[1]).read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and not line.startswith(("#", ";")):
            key, value = line.split("=", 1)
            found[f"{section}.{key.strip()}"] = value.strip()
    found.update(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "--set")
    return found


class PagesTest(fleet.Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trib-pages-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        for name in "scenarios", "data":
            shutil.copytree(fleet.SOURCE / "simulations" / name, self.dir / "simulations" / name)
        data = pathlib.Path(os.environ.get("TRIBUTARY_DATA", "/nowhere"))
        if (data / "adult").is_dir():
            (self.dir / "simulations/data/adult").symlink_to(data / "adult")
        # MovieLens is not ours to give away: made-up ratings in its format
        (self.dir / "u.data").write_text("".join(
            f"{user}\t{1 + (7 * user + 31 * i) % 1682}\t{1 + (user + i) % 5}\t{881250949 + i}\n"
            for user in range(1, 41) for i in range(20)))

    def absent(self, words):
        """The first file of rows that a command wants and that is not here."""
        found = settings(words)
        for key in "data.train", "data.test":
            if key not in found:
                continue
            # a path of the command line is looked up from the working directory
            is_set = any(word.startswith(f"{key}=") for word in words)
            base = self.dir if is_set else self.dir / "simulations/scenarios"
            if not (base / found[key]).exists():
                return found[key]
        return None

    def shorten(self, words):
        keys = dict(SHORT)
        if settings(words).get("data.test_on") == "devices":
            keys["round.cohort"] = 20
        if "round.beat_baseline=yes" not in words:
            keys["round.beat_baseline"] = "no"  # one round need not be better
        return [*words, *[word for key, value in keys.items()
                          for word in ("--set", f"{key}={value}")]]

    def play(self, where, words):
        if words[0] == "make":
            done = fleet.run("tributary-sim", *words, cwd=self.dir)
            self.assertEqual(done.returncode, 0, f"{where}: {done.stderr}")
            return
        done = fleet.run("tributary-sim", *self.shorten(words), "--quiet", cwd=self.dir)
        may = {0, MISSED} if "round.beat_baseline=yes" in words else {0}
        self.assertIn(done.returncode, may, f"{where}: {shlex.join(words)}\n{done.stderr}")

    @fleet.sweep
    def test_each_command_works(self):
        played, absent = 0, []
        for page in PAGES:
            for where, words in commands(page):
                missing = self.absent(words) if words[0] == "run" else None
                if missing:
                    absent.append(f"{where} ({missing})")
                    continue
                self.play(where, words)
                played += 1
        self.assertGreater(played, 25)
        if absent:
            self.skipTest(f"{played} commands work; without their data: {', '.join(absent)}")

    def test_each_command_stands_apart_from_the_text(self):
        for page in PAGES:
            lines = (fleet.SOURCE / f"docs/{page}.md").read_text().splitlines()
            wrong = [f"docs/{page}.md:{i + 1}" for i, line in enumerate(lines)
                     if line.startswith("    tributary-sim ")
                     and lines[i - 1] and not lines[i - 1].startswith("    ")]
            self.assertEqual(wrong, [], "wants an empty line before it")

    def test_what_is_described_has_an_example(self):
        shown = [settings(words) for page in PAGES for _, words in commands(page)
                 if words[0] == "run"]
        for key, words in WORDS.items():
            for word in words:
                self.assertTrue([s for s in shown if re.search(rf"\b{word}\b", s.get(key, ""))],
                                f"{key}: no example with {word}")
        page = (fleet.SOURCE / "docs/models.md").read_text()
        table = page[page.index("| key of `[round]` | default"):]
        rows = re.findall(r"^\| (`.*?) \|", table[:table.index("\n\n")], re.MULTILINE)
        keys = [key for row in rows for key in re.findall(r"`(\w+)`", row)]
        self.assertGreater(len(keys), 20)
        self.assertEqual([key for key in keys if not [s for s in shown if f"round.{key}" in s]], [])


if __name__ == "__main__":
    fleet.main()
