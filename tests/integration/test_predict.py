#!/usr/bin/env python3
"""What a device says of rows with the model that it has installed, and what without one."""
import base64
import json
import math
import random
import re
import struct

import fleet

SPEC = "64 - dense 10 softmax"
PERSONAL = "64 - dense 8 tanh - dense 10 softmax local"
LOCAL_HEADER = 88  # of local.part (client/local.h)
JOB = {"rounds": 3, "local_epochs": 2, "batch": 10, "learning_rate": 0.1}
SCHEMA = """[file]
missing = ?
[column size]
min = 0
max = 1000
[column colour]
type = category
values = red | blue
[column home]
type = text
role = id
[column animal]
type = category
values = cat | dog
role = label
"""
PIPELINE = """[step impute]
columns = size
with = mean
[step standardise]
columns = size
[step hash]
columns = home
buckets = 4
"""
FALLBACK = """[fallback]
min_probability = 0.5
[cluster small]
centre = 1 | 1
radius = 1.5
outputs = 0.8 | 0.2
[rule second]
when = 2 > 12
outputs = 0.1 | 0.9
[default]
outputs = 0.6 | 0.4
"""


def two_clouds(count, seed):
    """Two overlapping clouds; a third of the rows are of class 1."""
    source = random.Random(seed)
    rows = []
    for _ in range(count):
        label = int(source.random() < 1 / 3)
        x, z = (source.gauss(7 + 2 * label, 2) for _ in range(2))
        rows.append(f"{x:.3f},{z:.3f},{label}")
    return rows


def animals(count, seed):
    source = random.Random(seed)
    lines = []
    for i in range(count):
        size = source.randrange(100)
        colour = source.choice(["red", "blue", "pink", ""])
        label = "dog" if size > 50 else "cat"
        lines.append(f'{colour},{"?" if i % 9 == 4 else size},"house {i % 6}\nof many",{label}')
    return lines


def labels_of(rows):
    return [row.rsplit(",", 1)[1] for row in rows]


def right(answers, rows):
    """The share of answers that are the label of their row."""
    pairs = list(zip(answers, labels_of(rows), strict=True))
    return sum(str(answer["label"]) == label for answer, label in pairs) / len(pairs)


class PredictTest(fleet.Case):
    def try_predict(self, tried, name, rows, *options, **keys):
        return fleet.run("tributary-client", "predict", *options, tried.root / name,
                         input=fleet.as_text(rows), stdin=None, **keys)

    def predict(self, tried, name, rows, status=0):
        done = self.try_predict(tried, name, rows, "--json")
        self.assertEqual(done.returncode, status, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def train(self, tried, job, count=1):
        """Wait for a job and for its model on the devices; the metrics of its last version."""
        tried.wait_for_job(job)
        fleet.wait_until(lambda: tried.status()["on_newest_version"] == count,
                         "the newest version is installed")
        return tried.ctl("models", "show", "latest")[0]["metrics"]

    def test_answers_are_those_that_the_coordinator_counted(self):
        rows, held_out = fleet.digits()[:300], fleet.digits()[300:600]
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for i in range(2):
                tried.add_device(f"d{i}", rows[150 * i:150 * i + 150])
                tried.start_device(f"d{i}")
            tried.wait_connected(2)
            done = self.try_predict(tried, "d0", held_out)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("no model is installed yet", done.stderr)
            job = tried.submit(SPEC, held_out, cohort=2, **JOB)
            tried.wait_for_job(job)
            asked = self.predict(tried, "d0", held_out)  # the last version may be on its way
            self.assertEqual(len({answer["version"] for answer in asked}), 1)
            accuracy = self.train(tried, job, 2)["accuracy"]
            self.assertGreater(accuracy, 0.5)
            answers = self.predict(tried, "d0", held_out)
            self.assertEqual(right(answers, held_out), accuracy)
            version = tried.ctl("models", "show", "latest")[0]["version"]
            self.assertEqual({answer["version"] for answer in answers}, {version})
            self.assertEqual([answer["row"] for answer in answers], list(range(300)))
            for answer in answers:
                self.assertEqual(answer["probability"], max(answer["outputs"]))
                self.assertAlmostEqual(sum(answer["outputs"]), 1, delta=1e-5)
            # Without the labels, from a file, and in the words that programs want.
            unlabelled = [row.rsplit(",", 1)[0] for row in held_out]
            self.assertEqual(self.predict(tried, "d1", unlabelled), answers)
            path = tried.root / "rows.csv"
            path.write_text("\n".join(unlabelled))
            done = fleet.run("tributary-client", "predict", tried.root / "d0", path)
            self.assertEqual(done.stdout.split(), [str(answer["label"]) for answer in answers])
            self.assertIn(f"300 rows, version={version}: answered by model 300", done.stderr)
            # Bad rows are named, and the others answered.
            bad = held_out[:3] + ["1,2", held_out[3].replace(",", ",x", 1)] + held_out[4:6]
            done = self.try_predict(tried, "d0", bad)
            self.assertEqual(done.returncode, 5)
            lines = done.stdout.split("\n")
            self.assertEqual(lines[:3] + lines[5:-1],
                             [str(answers[i]["label"]) for i in (0, 1, 2, 4, 5)])
            self.assertEqual(lines[3:5], ["", ""])
            self.assertIn("standard input:4: row 3: 2 fields", done.stderr)
            self.assertIn("standard input:5: row 4: column 2: not a finite number", done.stderr)
            named = self.predict(tried, "d0", bad, status=5)
            self.assertEqual([row["row"] for row in named if "error" in row], [3, 4])
            done = fleet.run("tributary-client", "predict", tried.root / "d0", "/nonexistent")
            self.assertEqual(done.returncode, 5)
            done = fleet.run("tributary-client", "predict", tried.root / "nobody")
            self.assertEqual(done.returncode, 2)
            self.assertIn("not enrolled", done.stderr)
            (tried.root / "d0/client.ini").unlink() # which said by what rows are divided
            for command in "predict", "run", "privacy":
                done = fleet.run("tributary-client", command, tried.root / "d0")
                self.assertEqual(done.returncode, 2, command)
                self.assertIn("d0/client.ini: there is no such file", done.stderr, command)

    def test_the_threshold_of_the_version_decides(self):
        held_out = two_clouds(300, 2)
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", two_clouds(200, 1))
            tried.start_device("one")
            tried.wait_connected(1)
            job = tried.submit("2 - dense 1 sigmoid", held_out, cohort=1, threshold_goal="f1",
                               **JOB)
            metrics = self.train(tried, job)
            self.assertNotEqual(metrics["threshold"], 0.5)
            answers = self.predict(tried, "one", held_out)
            self.assertEqual(right(answers, held_out), metrics["accuracy"])
            for answer in answers:
                one, = answer["outputs"]
                self.assertEqual(answer["label"], int(one >= metrics["threshold"]))
                self.assertAlmostEqual(answer["probability"], one if answer["label"] else 1 - one)
            at_half = sum(int(answer["outputs"][0] >= 0.5) == answer["label"] for answer in answers)
            self.assertLess(at_half, len(answers))

    def test_a_value_is_said_of_a_regression(self):
        rows = [f"{i % 7},{i % 5},{2 * (i % 7) - i % 5 + 1}" for i in range(70)]
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", rows, scale=1)
            tried.start_device("one")
            tried.wait_connected(1)
            metrics = self.train(tried, tried.submit("2 - dense 1 linear", rows, scale=1, cohort=1,
                                                     **{**JOB, "learning_rate": 0.02}))
            answers = self.predict(tried, "one", rows)
            errors = [answer["value"] - float(label)
                      for answer, label in zip(answers, labels_of(rows))]
            self.assertAlmostEqual(sum(e * e for e in errors) / len(rows), metrics["mse"],
                                   delta=1e-9 * max(1, metrics["mse"]))
            self.assertNotIn("label", answers[0])
            done = self.try_predict(tried, "one", rows)
            self.assertEqual([float(line) for line in done.stdout.split()],
                             [answer["value"] for answer in answers])

    def test_rows_go_through_the_pipeline_that_came_with_the_job(self):
        rows, held_out = animals(120, 1), animals(90, 2)
        header = "colour,size,home,animal\n"

        def text(lines):
            return header + fleet.as_text(lines)

        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("job", text(rows), scale=1,
                             data="schema = s.ini\nheader = yes\npipeline = job\n")
            (tried.root / "job/s.ini").write_text(SCHEMA)
            tried.start_device("job")
            tried.wait_connected(1)
            path = tried.write_job("8 - dense 2 softmax", text(held_out), scale=1, cohort=1,
                                   min_accepted=1, **JOB,
                                   data="schema = s.ini\nheader = yes\nprepare = p.ini\n")
            (path.parent / "p.ini").write_text(PIPELINE)
            (path.parent / "s.ini").write_text(SCHEMA)
            metrics = self.train(tried, tried.ctl("jobs", "submit", path)[0]["job"])
            answers = self.predict(tried, "job", text(held_out))
            self.assertEqual(right(answers, held_out), metrics["accuracy"])
            self.assertEqual({answer["label"] for answer in answers}, {"cat", "dog"})
            # It outlives the client, and the label's column may be away.
            self.assertEqual(tried.end("job"), 0)
            unlabelled = header.replace(",animal", "") + "".join(
                line.rsplit(",", 1)[0] + "\n" for line in held_out)
            again = self.predict(tried, "job", unlabelled)
            self.assertEqual(again, answers)
            kept = tried.root / "job/pipeline.ini"
            self.assertEqual(kept.stat().st_mode & 0o777, 0o600)
            whole = kept.read_text()
            # As the device's own pipeline it gives the same answers.
            (tried.root / "job/fitted.ini").write_text(whole)
            config = tried.root / "job/client.ini"
            of_job = config.read_text()
            config.write_text(of_job.replace("pipeline = job", "prepare = fitted.ini"))
            self.assertEqual(self.predict(tried, "job", unlabelled), answers)
            config.write_text(of_job)
            for wrong in (whole.replace("mean", "median"), None):
                kept.unlink()
                if wrong:
                    kept.write_text(wrong)
                done = self.try_predict(tried, "job", unlabelled)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn("pipeline.ini is not there, or not the pipeline of version",
                              done.stderr)

    def test_a_part_of_its_own_goes_with_the_model(self):
        rows, held_out = fleet.digits()[:200], fleet.digits()[200:260]
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", rows)
            tried.start_device("one")
            tried.wait_connected(1)
            tried.wait_for_job(tried.submit(PERSONAL, [], cohort=1, eval_every=0,
                                            **{**JOB, "rounds": 8}))
            fleet.wait_until(lambda: tried.status()["on_newest_version"] == 1, "it is installed")
            answers = self.predict(tried, "one", held_out)
            self.assertGreater(right(answers, held_out), 0.5)
            part = tried.root / "one/local.part"
            kept = part.read_bytes()[LOCAL_HEADER:]
            own = struct.unpack(f"<{len(kept) // 4}f", kept)[len(kept) // 8:]
            common = fleet.Model(tried.root / "one/model.safetensors").floats()
            for answer, row in zip(answers[:5], held_out):
                x = [float(value) / 16 for value in row.split(",")[:64]]
                hidden = [math.tanh(sum(w * v for w, v in zip(common[64 * u:64 * u + 64], x))
                                    + common[512 + u]) for u in range(8)]
                logits = [sum(w * v for w, v in zip(own[8 * c:8 * c + 8], hidden)) + own[80 + c]
                          for c in range(10)]
                total = sum(map(math.exp, logits))
                for said, logit in zip(answer["outputs"], logits):
                    self.assertAlmostEqual(said, math.exp(logit) / total, delta=1e-5)
            self.assertEqual(tried.end("one"), 0)
            part.unlink()
            done = self.try_predict(tried, "one", held_out)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("local.part is missing", done.stderr)

    def test_a_new_device_is_answered_by_its_fallback(self):
        rows = ["9,9,1", "1,2,0", "20,3,0", "3,13,1"]
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("new", two_clouds(200, 1), scale=1, data="fallback = f.ini\n")
            (tried.root / "new/f.ini").write_text(FALLBACK)
            done = self.try_predict(tried, "new", rows, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            first = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual([(answer["row"], answer["version"], answer["by"], answer["label"])
                              for answer in first],
                             [(0, 0, "default", 0), (1, 0, "cluster small", 0),
                              (2, 0, "default", 0), (3, 0, "rule second", 1)])
            self.assertEqual(first[3]["probability"], struct.unpack("f", struct.pack("f", .9))[0])
            self.assertIn("answered by model 0, cluster small 1, rule second 1, default 2, "
                          "not answered 0", done.stderr)
            tried.start_device("new")
            tried.wait_connected(1)
            self.train(tried, tried.submit("2 - dense 2 softmax", two_clouds(50, 2), scale=1,
                                           cohort=1, **{**JOB, "learning_rate": 0.02}))
            then = self.predict(tried, "new", rows)
            self.assertEqual({answer["by"] for answer in then}, {"model"})
            # Only where it is sure enough.
            sure = sorted(answer["probability"] for answer in then)
            limit = (sure[1] + sure[2]) / 2
            (tried.root / "new/f.ini").write_text(FALLBACK.replace("0.5", f"{limit:.9f}"))
            for was, now, before in zip(then, self.predict(tried, "new", rows), first):
                self.assertEqual(now["by"],
                                 "model" if was["probability"] >= limit else before["by"])
            for text, says in ((FALLBACK.replace("0.2", "x"), "f.ini:6: outputs: 'x' is not"),
                               (FALLBACK.replace("when", "if"), "f.ini:8: if is not a key of"),
                               (FALLBACK.split("[default]")[0], "[default]: outputs is missing"),
                               (FALLBACK.replace(" | ", " | 0 | "), "f.ini:3: cluster small")):
                (tried.root / "new/f.ini").write_text(text)
                done = self.try_predict(tried, "new", rows)
                self.assertEqual((done.returncode, done.stdout), (2, ""), text)
                self.assertIn(says, done.stderr)

    def test_a_table_comes_with_the_version(self):
        rows = ["9,9,1", "1,2,0", "20,3,0", "3,13,1"]
        table = FALLBACK.replace("0.5", "1")  # no model is ever as sure as that
        by = ["default", "cluster small", "default", "rule second"]
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("old", two_clouds(200, 1), scale=1, data="fallback = own.ini\n")
            tried.add_device("new", [], scale=1)
            for name in ("old", "new"):
                tried.start_device(name)
            tried.wait_connected(2)
            path = tried.write_job("2 - dense 2 softmax", two_clouds(50, 2), scale=1, cohort=1,
                                   min_accepted=1, data="fallback = f.ini\n",
                                   **{**JOB, "learning_rate": 0.02})
            for text, says in ((table.replace("0.2", "x"), "f.ini:6: outputs: 'x' is not"),
                               (table.replace("1 | 1", "1"), "centre has 1 numbers, and a row has 2"),
                               (table + "# much\n" * 2000, "a version takes 12288 along")):
                (path.parent / "f.ini").write_text(text)
                done = tried.try_ctl("jobs", "submit", path)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("job.ini: data.fallback: ", done.stderr)
                self.assertIn(says, done.stderr)
            (path.parent / "f.ini").write_text(table)
            self.train(tried, tried.ctl("jobs", "submit", path)[0]["job"], count=2)
            answers = self.predict(tried, "new", rows)
            self.assertEqual([answer["by"] for answer in answers], by)
            self.assertEqual({answer["version"] for answer in answers},
                             {tried.ctl("models", "show", "latest")[0]["version"]})
            # The next job's own versions bring another one, the first before anything is learnt.
            following = path.parent / "next.ini"
            (path.parent / "f.ini").write_text(table.replace("rule second", "rule other"))
            following.write_text(path.read_text().replace("rounds = 3", "rounds = 1000"))
            job = tried.ctl("jobs", "submit", following)[0]["job"]
            fleet.wait_until(lambda: self.predict(tried, "new", rows)[3]["by"] == "rule other",
                             "the table is there")
            tried.ctl("jobs", "cancel", job)
            tried.wait_for_job(job, "cancelled")
            # A file of its own comes first.
            (tried.root / "old/own.ini").write_text(table[:table.index("[cluster")]
                                                    + table[table.index("[default"):])
            self.assertEqual({answer["by"] for answer in self.predict(tried, "old", rows)},
                             {"default"})
            # What was changed on its disk is not used: the table is signed with the model.
            self.assertEqual(tried.end("new"), 0)
            model = tried.root / "new/model.safetensors"
            found = re.search(rb'"manifest":"([^"]+)"', model.read_bytes())
            manifest = base64.urlsafe_b64decode(found[1] + b"==")
            self.assertIn(b"0.1 | 0.9", manifest)
            changed = base64.urlsafe_b64encode(
                manifest.replace(b"0.1 | 0.9", b"0.9 | 0.1")).rstrip(b"=")
            model.write_bytes(model.read_bytes().replace(found[1], changed))
            done = self.try_predict(tried, "new", rows)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("id=model-corrupt", done.stderr)


if __name__ == "__main__":
    fleet.main()
