#!/usr/bin/env python3
"""What devices have installed is what was committed; what they cannot use, they say and leave."""
import json

import fleet

SPEC = "2 - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(60)]
JOB = {"rounds": 3, "local_epochs": 2, "batch": 8, "learning_rate": 0.1}


class ModelsTest(fleet.Case):
    def start(self, tried, *names, rows=ROWS):
        for name in names:
            tried.add_device(name, rows)
            tried.start_device(name)

    def installed(self, tried, name):
        """What a device says that it has."""
        done = fleet.run("tributary-client", "status", tried.root / name, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def wait_installed(self, tried, count):
        fleet.wait_until(lambda: tried.status()["on_newest_version"] == count,
                         "the newest version is installed")

    def test_devices_have_the_model_that_is_exported(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.start(tried, "one", "two")
            tried.wait_connected(2)
            tried.wait_for_job(tried.submit(SPEC, ROWS, cohort=2, **JOB))
            self.wait_installed(tried, 2)
            exported = tried.root / "exported.safetensors"
            done = tried.try_ctl("models", "export", "latest", "--out", exported)
            self.assertEqual(done.returncode, 0, done.stderr)
            digest = fleet.Model(exported).digest()
            self.assertEqual(tried.model_digest(), digest)
            for name in ["one", "two"]:
                self.assertEqual(fleet.Model(tried.root / name / "model.safetensors").digest(),
                                 digest)
                self.assertEqual(self.installed(tried, name)["model_digest"], digest)
            tried.try_ctl("models", "export", 1, "--out", exported)
            self.assertNotEqual(fleet.Model(exported).digest(), digest)

    @fleet.sweep
    def test_a_device_that_is_away_does_not_count_as_one_of_the_newest_version(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.start(tried, "one", "two")
            tried.wait_connected(2)
            tried.wait_for_job(tried.submit(SPEC, ROWS, cohort=2, **JOB))
            self.wait_installed(tried, 2)
            tried.kill("two")
            fleet.wait_until(lambda: tried.status()["connected"] == 1, "it is missed")
            self.assertEqual(tried.status()["on_newest_version"], 1)
            tried.start_device("two")
            self.wait_installed(tried, 2)

    def test_a_model_that_was_tampered_with_is_fetched_again(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.start(tried, "one")
            tried.wait_connected(1)
            tried.wait_for_job(tried.submit(SPEC, ROWS, cohort=1, **JOB))
            self.wait_installed(tried, 1)
            path = tried.root / "one/model.safetensors"
            whole = path.read_bytes()
            place = whole.index(b'"signature":"') + 20
            wrongs = {
                "a bit of the parameters": whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:],
                "a letter of the signature": whole[:place] + bytes([whole[place] ^ 1])
                + whole[place + 1:],
                "cut short": whole[:-4],
                "a header of no end": bytes([255]) * 8 + whole[8:],
                "nothing": b"",
                "no file": None,
            }
            for what, data in wrongs.items():
                with self.subTest(wrong=what):
                    self.assertEqual(tried.end("one"), 0)
                    path.unlink()
                    if data is not None:
                        path.write_bytes(data)
                    self.assertEqual(self.installed(tried, "one")["version"], 0)
                    tried.start_device("one")
                    fleet.wait_until(lambda: path.exists() and path.read_bytes() == whole,
                                     "the model is as it was")

    def test_wrong_data_are_named_with_file_and_line(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            tried.add_device("one", ROWS)
            wrongs = {
                "a ragged row": (ROWS[:4] + ["1,2"] + ROWS, "data.csv:5:"),
                "a long row": (ROWS[:4] + ["1,2,0,1"] + ROWS, "data.csv:5:"),
                "text": (ROWS[:7] + ["1,blue,0"], "data.csv:8:"),
                "nan": (ROWS[:7] + ["1,nan,0"], "data.csv:8:"),
                "infinity": (ROWS[:7] + ["1,1e999,0"], "data.csv:8:"),
                "an empty field": (ROWS[:7] + ["1,,0"], "data.csv:8:"),
            }
            for what, (rows, place) in wrongs.items():
                with self.subTest(wrong=what):
                    tried.write_data("one", rows)
                    done = fleet.run("tributary-client", "run", tried.root / "one")
                    self.assertEqual(done.returncode, 5, done.stderr)
                    self.assertIn(place, done.stderr)
            (tried.root / "one/data.csv").unlink()
            done = fleet.run("tributary-client", "run", tried.root / "one")
            self.assertEqual(done.returncode, 5, done.stderr)
            self.assertIn("data.csv", done.stderr)

    def test_a_device_that_cannot_take_part_declines_and_the_round_goes_on(self):
        unfit = {
            "no-rows": ([], "declined_no_data"),
            "other-labels": (ROWS[:9] + ["1,1,7"], "declined_model"),
            "other-width": ([row + ",1" for row in ROWS], "declined_model"),
        }
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.start(tried, "one", "two")
            for name, (rows, _) in unfit.items():
                self.start(tried, name, rows=rows)
            tried.wait_connected(5)
            job = tried.submit(SPEC, ROWS, cohort=5, min_accepted=2, **JOB)
            tried.wait_for_job(job)
            rounds = tried.ctl("rounds", "ls", "--job", job)
            self.assertEqual([row["accepted"] for row in rounds], [2, 2, 2])
            leases = {row["device"]: row for row in tried.ctl("rounds", "show", rounds[0]["id"])}
            for name in ["one", "two"]:
                self.assertEqual(leases[name]["lease"], "counted")
            for name, (_, code) in unfit.items():
                self.assertEqual(str(leases[name]["why"]).lower(), code, name)

    def test_a_device_with_one_class_trains_and_says_with_which_kernels(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            for label in "01":
                self.start(tried, f"only-{label}", rows=[row for row in ROWS if row[-1] == label])
            tried.wait_connected(2)
            job = tried.submit(SPEC, ROWS, cohort=2, **JOB)
            tried.wait_for_job(job)
            rounds = tried.ctl("rounds", "ls", "--job", job)
            self.assertEqual([row["accepted"] for row in rounds], [2, 2, 2])
            self.assertRegex(tried.log("only-0"), r"kernels=(avx512|avx2|neon|plain) ")

    def test_the_best_version_and_its_confusion_matrix_are_remembered(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.start(tried, "one")
            tried.wait_connected(1)
            for spec, best_of in [(SPEC, max), ("2 - dense 1 linear", min)]:
                job = tried.submit(spec, ROWS, cohort=1, **JOB)
                tried.wait_for_job(job)
                rounds = tried.ctl("rounds", "ls", "--job", job)
                values = [row["value"] for row in rounds]
                shown = tried.ctl("jobs", "show", job)[0]
                self.assertEqual(shown["best"], best_of(values))
                self.assertEqual(shown["best_round"], values.index(best_of(values)) + 1)
                self.assertEqual(shown["best_version"], rounds[shown["best_round"] - 1]["version"])
                found = tried.ctl("models", "show", shown["best_version"])[0]["metrics"]
                if best_of is max:
                    matrix = found["confusion"]
                    self.assertEqual([sum(row) for row in matrix],
                                     [sum(row[-1] == label for row in ROWS) for label in "01"])
                    self.assertAlmostEqual((matrix[0][0] + matrix[1][1]) / len(ROWS),
                                           found["accuracy"])
                else:
                    self.assertGreater(len(set(values)), 1)
                    self.assertNotIn("confusion", found)

    def test_the_choice_of_the_best_version_can_be_replayed(self):
        words = {"first": 0, "better": 0, "equal": 0, "worse": 0}
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.start(tried, "one")
            tried.wait_connected(1)
            for metric, best_of in [("accuracy", max), ("log_loss", min)]:
                job = tried.submit(SPEC, ROWS, cohort=1, rounds=8, local_epochs=2, batch=8,
                                   learning_rate=2, test_share=0.5, primary_metric=metric)
                tried.wait_for_job(job)
                log = tried.ctl("jobs", "selection", job)
                self.assertEqual([row["round"] for row in log], list(range(1, 9)))
                rounds = tried.ctl("rounds", "ls", "--job", job)
                self.assertEqual([(row["version"], row["value"]) for row in log],
                                 [(row["version"], row["value"]) for row in rounds])
                shown = tried.ctl("jobs", "show", job)[0]
                last = log[-1]
                self.assertEqual((last["best_version"], last["best"]),
                                 (shown["best_version"], shown["best"]))
                self.replay(log, best_of, words)
                for row in log:  # what was chosen by is of the validation rows, not of the others
                    measured = tried.ctl("models", "show", row["version"])[0]["metrics"]
                    self.assertEqual((row["metric"], row["value"]), (metric, measured[metric]))
                    self.assertNotEqual(measured["test"]["log_loss"], measured["log_loss"])
            self.assertTrue(all(words.values()), words)  # each was seen
            done = tried.try_ctl("jobs", "selection", 99)
            self.assertEqual((done.returncode, done.stderr), (2, "no job 99\n"))
            job = tried.submit(SPEC, ROWS, cohort=1, rounds=1, eval_every=0)
            tried.wait_for_job(job)
            done = tried.try_ctl("jobs", "selection", job)
            self.assertEqual(done.returncode, 2)
            self.assertIn("nothing to choose by", done.stderr)

    def replay(self, log, best_of, words):
        """Choose again, by the values alone; count the words."""
        values = []
        for row in log:
            before = best_of(values) if values else None
            values.append(row["value"])
            best = best_of(values)
            word = ("first" if before is None else "equal" if row["value"] == before
                    else "better" if best != before else "worse")
            self.assertEqual((row["choice"], row["best"], row["best_version"]),
                             (word, best, log[values.index(best)]["version"]))
            words[word] += 1

    def test_a_device_that_does_not_allow_the_mode_declines(self):
        with fleet.Fleet() as tried:
            tried.start_coordinator()
            self.start(tried, "open")
            tried.add_device("strict", ROWS)
            path = tried.root / "strict/client.ini"
            path.write_text(path.read_text().replace("off,local", "local"))
            tried.start_device("strict")
            tried.wait_connected(2)
            job = tried.submit(SPEC, ROWS, cohort=2, min_accepted=1, **JOB)
            tried.wait_for_job(job)
            leases = tried.ctl("rounds", "show", tried.ctl("rounds", "ls")[0]["id"])
            leases = {row["device"]: row for row in leases}
            self.assertEqual(leases["open"]["lease"], "counted")
            self.assertEqual(leases["strict"]["why"].lower(), "declined_policy")


if __name__ == "__main__":
    fleet.main()
