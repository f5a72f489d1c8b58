#!/usr/bin/env python3
"""Models have parents: a job starts from a version, a file, or nothing; what it was stays known."""
import fleet

SPEC = "2 - dense 3 relu - dense 2 softmax"
WIDER = "2 - dense 3 relu - dense 5 tanh - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(60)]
LAYER = 4 * (2 * 3 + 3)  # bytes of the first layer of both


class LineageTest(fleet.Case):
    def begin(self, tried, environment=None):
        tried.start_coordinator(environment)
        tried.add_device("one", ROWS)
        tried.start_device("one")
        tried.wait_connected(1)

    def job(self, tried, spec=SPEC, rounds=1, **keys):
        """A job's file, with keys of [model]."""
        path = tried.write_job(spec, ROWS, rounds=rounds, cohort=1, local_epochs=2, batch=8,
                               learning_rate=0.1)
        model = "".join(f"{key} = {value}\n" for key, value in keys.items())
        path.write_text(path.read_text().replace("seed = 1\n", f"seed = 1\n{model}"))
        return path

    def play(self, tried, *arguments, **keys):
        path = self.job(tried, *arguments, **keys)
        return tried.wait_for_job(tried.ctl("jobs", "submit", path)[0]["job"])

    def shown(self, tried, version):
        return tried.ctl("models", "show", version)[0]

    def exported(self, tried, version):
        path = tried.root / f"v{version}.safetensors"
        done = tried.try_ctl("models", "export", version, "--out", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        return fleet.Model(path)

    def assert_child(self, tried, version, of):
        row, parent = self.shown(tried, version), self.shown(tried, of)
        self.assertEqual((row["parent"], row["parent_digest"]), (of, parent["model_digest"]))

    def refuse(self, tried, path, status, *words):
        done = tried.try_ctl("jobs", "submit", path)
        self.assertEqual(done.returncode, status, done.stderr)
        for word in [str(path), *words]:
            self.assertIn(word, done.stderr)

    def test_a_job_starts_from_an_older_version_and_says_so(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            self.play(tried, rounds=3)  # versions 1 to 4
            row = self.shown(tried, 1)
            self.assertEqual((row["parent"], row["parent_digest"]), (0, None))
            for version in [2, 3, 4]:
                self.assert_child(tried, version, version - 1)
            start = self.play(tried, init_version=2)["start_version"]
            self.assertEqual(start, 5)
            self.assert_child(tried, 5, 2)
            self.assert_child(tried, 6, 5)
            of_second = tried.ctl("models", "ls", "--job", 2, "--limit", 2)
            self.assertEqual([(row["version"], row["job"]) for row in of_second], [(5, 2), (6, 2)])
            self.assertEqual([row["version"] for row in tried.ctl("models", "ls", "--job", 1)],
                             [1, 2, 3, 4])
            self.assertEqual(self.exported(tried, 5).params, self.exported(tried, 2).params)
            self.assertNotEqual(self.exported(tried, 5).params, self.exported(tried, 4).params)
            for version in [2, 5]:  # two versions of the same parameters
                self.assertEqual(self.exported(tried, version).metadata["version"], str(version))
            # The device holds a manifest with the parent in it, and took its signature for good.
            fleet.wait_until(lambda: tried.status()["on_newest_version"] == 1, "it is installed")

    def test_layers_of_a_version_go_where_the_map_says(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            self.play(tried)
            old = self.exported(tried, 2)
            self.refuse(tried, self.job(tried, WIDER, init_version=2), 2, "model.init_version",
                        SPEC, WIDER, "model.init_map")
            self.refuse(tried, self.job(tried, WIDER, init_version=2, init_map="0:1"), 5,
                        "model.init_map")
            start = self.play(tried, WIDER, init_version=2, init_map="0:0")["start_version"]
            self.assert_child(tried, start, 2)
            self.assertEqual(self.exported(tried, start).params[:LAYER], old.params[:LAYER])

    def test_what_cannot_be_started_from_is_refused_by_name(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            self.refuse(tried, self.job(tried, init_version=1), 2, "model.init_version",
                        "there is no version 1")
            self.play(tried)
            self.refuse(tried, self.job(tried, init_version=9), 2, "there is no version 9")
            self.refuse(tried, self.job(tried, init_version=1, init="x.npz"), 2,
                        "model.init_version", "one of them")
            self.refuse(tried, self.job(tried, init_map="0:0"), 2, "model.init_map")
            path = next((tried.dir / "models").glob(
                self.shown(tried, 1)["model_digest"] + ".safetensors"))
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            path.write_bytes(data)
            self.refuse(tried, self.job(tried, init_version=1), 5, "version 1", "any more")
            self.play(tried, init_version=2)  # and it goes on

    def test_a_coordinator_that_dies_at_the_start_starts_from_the_same(self):
        if not fleet.crash_points("tributary-coordinator"):
            self.skipTest("a build without -Dcrash_points=true")
        with fleet.Fleet() as tried:
            self.begin(tried, {"TRIB_CRASH": "version.written:4"})
            self.play(tried, rounds=2)  # versions 1 to 3
            tried.try_ctl("jobs", "submit", self.job(tried, init_version=2))
            tried.processes["coordinator"].wait(fleet.PATIENCE_S)
            tried.start_coordinator()
            self.assertEqual(tried.wait_for_job(2)["start_version"], 4)
            self.assert_child(tried, 4, 2)
            self.assertEqual(self.exported(tried, 4).params, self.exported(tried, 2).params)

    def test_a_version_that_went_away_fails_the_job_alone(self):
        if not fleet.crash_points("tributary-coordinator"):
            self.skipTest("a build without -Dcrash_points=true")
        with fleet.Fleet() as tried:
            self.begin(tried, {"TRIB_CRASH": "version.written:4"})
            self.play(tried, rounds=2)  # versions 1 to 3
            name = self.shown(tried, 1)["model_digest"] + ".safetensors"
            tried.try_ctl("jobs", "submit", self.job(tried, init_version=1))
            tried.processes["coordinator"].wait(fleet.PATIENCE_S)
            (tried.dir / "models" / name).unlink()
            tried.start_coordinator()
            ended = tried.wait_for_job(2, state="failed")
            self.assertEqual(ended["reason"], "what it starts from cannot be used any more")
            self.assertIn("there is no version 1 that can be read any more",
                          tried.log("coordinator"))
            self.play(tried, init_version=2)  # and it goes on

    def test_a_derived_file_knows_its_parent_and_a_job_starts_from_it(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            self.play(tried)
            old = self.exported(tried, 2)
            path = tried.root / "derived.safetensors"
            words = ["models", "derive", 2, "--spec", WIDER, "--map", "0:0", "--out", path]
            done = tried.try_ctl(*words)
            self.assertEqual((done.returncode, done.stdout), (0, f"{path}\n"), done.stderr)
            derived = fleet.Model(path)
            self.assertEqual(derived.metadata["parent"], self.shown(tried, 2)["model_digest"])
            self.assertEqual(derived.metadata["map"], "0:0")
            self.assertEqual(derived.metadata["digest"], derived.digest())
            self.assertEqual(derived.params[:LAYER], old.params[:LAYER])
            self.assertEqual(tried.try_ctl(*words, "--seed", 2).returncode, 0)
            other = fleet.Model(path)
            self.assertEqual(other.params[:LAYER], old.params[:LAYER])
            self.assertNotEqual(other.params[LAYER:], derived.params[LAYER:])

            start = self.play(tried, WIDER, init=path)["start_version"]
            row = self.shown(tried, start)
            self.assertEqual(self.exported(tried, start).params, other.params)
            self.assert_child(tried, start, 2)  # and not of the file, which it is
            self.assertEqual(row["model_digest"], other.digest())

            for map_, spec, status, word in [("0:0", "2 - dense", 2, "dense"),
                                             ("0-0", WIDER, 2, "OLD:NEW"), ("0:1", WIDER, 5, "0.")]:
                done = tried.try_ctl("models", "derive", 2, "--spec", spec, "--map", map_)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(word, done.stderr)
            self.assertEqual(tried.try_ctl("models", "derive", 99, "--spec", WIDER, "--map",
                                           "0:0").returncode, 2)
            self.assertEqual(tried.try_ctl("models", "derive", 2).returncode, 2)

    def test_an_exported_file_says_of_which_version_it_is(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            self.play(tried, rounds=2)
            self.exported(tried, 2)
            path = tried.root / "v2.safetensors"
            start = self.play(tried, init=path)["start_version"]
            self.assert_child(tried, start, 2)
            start = self.play(tried, WIDER, init=path, init_map="0:0")["start_version"]
            self.assert_child(tried, start, 2)
            with fleet.Fleet() as other:  # which knows no such version, but its digest
                self.begin(other)
                start = self.play(other, init=path)["start_version"]
                row = self.shown(other, start)
                self.assertEqual((row["parent"], row["parent_digest"]),
                                 (0, fleet.Model(path).digest()))

    def test_a_simulation_has_no_versions_to_start_from(self):
        scenario = fleet.SOURCE / "simulations/scenarios/digits-off.ini"
        done = fleet.run("tributary-sim", "run", scenario, "--mode", "inprocess", "--quiet",
                         "--set", "model.init_version=1")
        self.assertEqual(done.returncode, 2)
        self.assertIn("model.init_version", done.stderr)


if __name__ == "__main__":
    fleet.main()
