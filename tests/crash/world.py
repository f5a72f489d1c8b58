"""A federation in which somebody is always about to die, with one right result for each job."""
import collections
import json
import os
import random
import signal
import time

from oracle import Broken, Oracle, fleet

DEVICES = 4
PATIENCE_S = 25  # for a point to be hit: many jobs long
# Jobs that take turns start from the beginning each time, so that each has one right result.
LIE = "norm"  # which is found when all of the update is there
SPECS = ["64 - dense 10 softmax", "64 - dense 8 relu - dense 10 softmax"]
PLAIN = [{"learning_rate": 0.1},
         {"learning_rate": 1, "clip_norm": 1, "lr_schedule": "plateau", "lr_step_rounds": 1,
          "lr_gamma": 0.1, "lr_min": 0.05,
          "strategy": "fedadam", "server": {"server_learning_rate": 0.05}}]
NOISED = [{"mode": "central", "learning_rate": 0.1, "select_ms": 20000,
           "privacy": {"noise_multiplier": 0.05, "test_seed": seed}} for seed in (5, 6)]
# Noise that nobody can foresee: what was drawn is held against what is drawn, not models.
DRAWN = [{**way, "privacy": {"noise_multiplier": 0.05}} for way in NOISED]
# Devices add noise of their own, and learn from rows that came since: the same ones for each job.
GROWN = [{**way, "mode": "local", "learning_rate": "0.1\nmode = incremental"} for way in NOISED]
# Whoever dies is lost to a masked round, which goes on without one of four.
MASKED = [{**way, "mode": "distributed", "report_ms": 8000,
           "secagg": {"min_cohort": 3, "threshold_frac": 0.66, "max_colluders_frac": 0,
                      "phase_ms": 5000}} for way in NOISED]
THRESHOLD = 3
# Jobs between which keys change: rekey.py.
REKEYED = [{**way} for way in NOISED]
# A world: its jobs; the points, by their first word, that only these jobs pass, and others of which
# somebody may die differently there.
Kind = collections.namedtuple("Kind", "ways rounds only also")
KINDS = [
    Kind(PLAIN, 6, [], []),
    Kind(NOISED, 3, ["central"], []),
    Kind(DRAWN, 3, ["central"], ["version.written", "round.ended"]),  # it is read back after each
    Kind(GROWN, 1, ["ledger", "budget", "watermark"],
         ["task.trained", "spool.*", "upload.begin", "answer.*", "receipt.before"]),
    Kind(MASKED, 2, ["secagg"],
         ["task.trained", "receipt.before", "round.sealed", "version.written", "round.ended"]),
    Kind(REKEYED, 1, ["rotate", "keys"], []),
]
# Points that these jobs do not pass, by their first word: the test that passes them. Clients pass those
# of enrolment before any job.
ELSEWHERE = {"rows": "rows", "local": "local"}
# Why a masked round may be given up: too many died, or the coordinator did.
GIVEN_UP = {"few_selected", "few_reported", "few_unmasked", "restarted"}
KEPT = 3  # versions whose files a plain job keeps
Kill = collections.namedtuple("Kill", "victim point hit")


class World(fleet.Fleet):
    """Devices d0, d1, ..., jobs in turns, and queues of who is to die where."""

    def begin(self, kind, planted=None):
        if planted:
            os.environ["TRIB_PLANT"] = planted
        ways = kind.ways
        rows = fleet.digits()
        self.rounds = kind.rounds
        self.is_seeded = ways is not DRAWN
        self.is_masked = ways is MASKED
        self.is_charged = ways in (GROWN, MASKED)
        self.names = [f"d{i}" for i in range(DEVICES)]
        self.rows = {name: fleet.as_text(rows[200 + 60 * i:260 + 60 * i])
                     for i, name in enumerate(self.names)}
        self.grows = ways is GROWN
        self.liars = ["liar"] if ways is PLAIN else []  # whose updates are refused
        self.oracle = Oracle(self)
        self.kills = collections.Counter()  # (program, point) or (program, "random")
        self.armed = {}  # victim: (Kill, since)
        self.turn = self.grown = 0
        self.given_up = 0  # masked rounds
        self.queues = {}
        self.is_whole = True  # all devices count in each round of the last job
        self.extra = 0
        self.dead_at = {}
        if ways is PLAIN:
            with open(self.dir / "tributary.ini", "a") as file:
                file.write(f"[store]\nkeep_versions = {KEPT}\n")
        self.start_coordinator()
        modes = ",".join({"off", *(way.get("mode", "off") for way in ways)})
        for name in self.names:
            self.add_device(name, self.rows[name], modes=f"{modes}\nmin_cohort = 2")
            self.start_device(name)
        for name in self.liars:
            self.add_device(name, [])
            self.start(name, [fleet.program("tributary-sim"), "liar", self.root / name, "--lie", LIE])
        everybody = DEVICES + len(self.liars)
        self.wait_connected(everybody)
        self.paths = [self.write_job(spec, rows[:100], rounds=kind.rounds, cohort=DEVICES,
                                     over_selection=everybody / DEVICES, local_epochs=1, batch=16,
                                     **way)
                      for spec, way in zip(SPECS, ways)]
        self.expected = []
        for path in self.paths:  # what the jobs give when nobody is killed
            self.grow()
            self.wait_for_job(self.ctl("jobs", "submit", path)[0]["job"])
            self.expected.append(self.model_digest())
            self.turn += 1

    # ---- Who dies, and comes back

    def arm(self, queues):
        """Who has nothing to die of gets the next point of its queue; a restart, if it runs."""
        for victim, queue in queues.items():
            if queue and victim not in self.armed:
                self.armed[victim] = (queue.popleft(), time.monotonic())
                if victim in self.processes and self.processes[victim].poll() is None:
                    self.processes[victim].kill()
                    self.processes[victim].wait()
                    self.died(victim, "random")

    def died(self, victim, point):
        self.kills[victim.rstrip("0123456789"), point] += 1

    def revive(self, queues=None):
        """Look at the disk, and start whoever died, with the next point to die at."""
        for name in ["coordinator", *self.names]:
            process = self.processes.get(name)
            if process is None or process.poll() is None:
                continue
            if process.returncode != -signal.SIGKILL:
                raise Broken(f"{name} ended by itself with {process.returncode}")
            kill = self.armed.pop(name, None)
            if kill and self.start_of[name] >= kill[1]:
                self.died(name, kill[0].point)
            elif kill:
                self.armed[name] = kill
            self.processes.pop(name)
            if name == "coordinator":
                self.oracle.look()
            if queues and name not in self.armed and queues.get(name):
                self.armed[name] = (queues[name].popleft(), time.monotonic())
            self.begin_process(name)

    start_of = collections.defaultdict(float)

    def begin_process(self, name):
        self.start_of[name] = time.monotonic()
        kill = self.armed.get(name)
        words = {"TRIB_CRASH": f"{kill[0].point}:{kill[0].hit}"} if kill else None
        if name == "coordinator":
            if self.start_coordinator(words, may_die=True):
                self.oracle.hold_start()
        else:
            self.start_device(name, words)

    def try_to_ask(self, *words):
        if words[:2] in fleet.QUESTIONS or words == ("status",):
            return self.query(*words)
        done = self.try_ctl(*words, "--json")
        if done.returncode:
            raise fleet.admin.Refused(done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def ask(self, *words):
        """The answer, however often the coordinator dies of the question; None: it refuses."""
        for _ in range(50):
            try:
                return self.try_to_ask(*words)
            except (OSError, fleet.admin.Refused) as error:
                if self.processes["coordinator"].poll() is None:
                    self.refusal = str(error)
                    if self.answers():
                        return None
            fleet.wait_until(lambda: self.processes["coordinator"].poll() is not None or
                             self.answers(), "it dies or answers")
            self.revive(self.queues)
        raise Broken(f"no answer to {words}")

    # ---- Jobs

    def grow(self):
        """Each job finds the rows of the one before it behind them, and learns from these alone."""
        if self.grows and self.grown < self.turn:
            for name in self.names:
                with open(self.root / name / "data.csv", "a") as file:
                    file.write(self.rows[name])
            self.grown = self.turn

    def submit(self):
        self.grow()
        done = self.try_ctl("jobs", "submit", self.paths[self.turn % 2], "--json")
        jobs = self.ask("jobs", "ls")
        if len(jobs) <= self.turn:
            if done.returncode == 0:
                raise Broken("a job that was taken is gone")
            return None
        return jobs[-1]["job"]

    def hold(self, job):
        """The job is done: everybody counted once in each round, the model is the right one."""
        ended = self.ask("rounds", "ls", "--job", job)
        leases = {row["id"]: {lease["device"]: lease["lease"]
                              for lease in self.ask("rounds", "show", row["id"])} for row in ended}
        if self.is_masked:
            self.is_whole = self.hold_masked(ended, leases)
        else:
            self.hold_rounds(ended, leases)
        if self.is_charged:
            self.hold_charges(leases)
        self.hold_books()
        digest = self.ask("models", "show", "latest")[0]["model_digest"]
        if self.is_seeded and self.is_whole and digest != self.expected[self.turn % 2]:
            raise Broken(f"job {job}: another model than without kills")
        self.turn += 1

    def hold_rounds(self, ended, leases):
        rounds = [(row["round"], row["state"], row["accepted"]) for row in ended]
        wanted = [(number, "committed", DEVICES) for number in range(1, self.rounds + 1)]
        if rounds != wanted:
            raise Broken(f"rounds {rounds}")
        for number, states in leases.items():
            counted = sorted(name for name, state in states.items() if state == "counted")
            others = {name for name, state in states.items() if state != "counted"}
            if counted != self.names or not others <= set(self.liars):
                raise Broken(f"round {number}: leases {states}")

    def hold_masked(self, ended, leases):
        """Each round has enough survivors or is given up; were all of them there in all?"""
        if [row["round"] for row in ended] != list(range(1, self.rounds + 1)):
            raise Broken(f"rounds {ended}")
        self.given_up += sum(row["state"] != "committed" for row in ended)
        for row in ended:
            counted = [state for state in leases[row["id"]].values() if state == "counted"]
            is_good = row["state"] == "committed" and \
                len(counted) == row["accepted"] >= THRESHOLD or \
                row["state"] == "abandoned" and row["reason"] in GIVEN_UP
            if not is_good:
                raise Broken(f"round {row}: leases {leases[row['id']]}")
        for name in ["coordinator", *self.names]:
            log = self.log(name)
            if "DECLINED_VIEW" in log or "id=secagg-refused" in log or "id=secagg-piece" in log:
                raise Broken(f"{name} saw what nobody may see")
        return all((row["state"], row["accepted"]) == ("committed", DEVICES) for row in ended)

    def hold_charges(self, leases):
        """Whoever counts in a round has paid for it."""
        for name in self.names:
            told = fleet.run("tributary-client", "privacy", self.root / name, "--json")
            if told.returncode:
                raise Broken(f"{name}: the ledger: {told.stderr}")
            entries = json.loads(told.stdout)["entries"]
            back = {entry["refunds"] for entry in entries if "refunds" in entry}
            paid = {entry["round_id"] for entry in entries if entry["kind"] == "reserve"
                    and entry["sequence"] not in back}
            counted = {number for number, states in leases.items() if states[name] == "counted"}
            if not counted <= paid:
                raise Broken(f"{name} counts in {counted - paid} without a charge")

    def administer(self):
        """A device comes and is revoked, between two jobs: they are to have the same devices."""
        self.extra += 1
        name = f"x{self.extra}"
        token = self.ask("devices", "token", "--name", name)
        is_told = token and self.enrol(token[0]["token"], name).returncode == 0
        self.ask("status")  # it may have died of it
        # It may be there though nobody was told; and a round would wait for it.
        is_revoked = self.ask("devices", "revoke", name) is not None
        states = [row["state"] for row in self.ask("devices", "ls") if row["name"] == name]
        if is_told and not states or is_revoked and states != ["revoked"]:
            raise Broken(f"{name} was enrolled {is_told}, revoked {is_revoked}, and is {states}")

    def hold_books(self):
        """The two identities of accounting, and no more moments than the last version's."""
        now = self.ask("status")[0]
        if now["connections_accepted"] != sum(now["closed"].values()) + now["connections_open"] or \
                now["uploads_begun"] != sum(now["receipts"].values()) + now["uploads_cut"] + \
                now["uploads_in_flight"]:
            raise Broken(f"books: {now}")
        moments = self.dir / "updates"
        fleet.wait_until(lambda: len(list(moments.glob("*.moments"))) <= 1 or
                         self.processes["coordinator"].poll() is not None, "old moments are gone")

    def enrol_anywhere(self, points):
        """A device that dies while it enrols tries again, and is there once; points never passed."""
        missed = []
        for point in points:
            self.extra += 1
            name = f"x{self.extra}"
            token = self.ask("devices", "token", "--name", name)[0]["token"]
            words = [fleet.program("tributary-client"), "enrol", token, "--state",
                     self.root / name]
            process = self.start(name, words, {"TRIB_CRASH": f"{point}:1"})
            process.wait(PATIENCE_S)
            self.processes.pop(name)
            if process.returncode == -signal.SIGKILL:
                self.died("d", point)
            else:
                missed.append(Kill(name, point, 1))
            again = self.enrol(token, name)
            rows = [row for row in self.ask("devices", "ls") if row["name"] == name]
            if again.returncode or len(rows) != 1:
                raise Broken(f"{point}: enrolled again: {again.stderr} {rows}")
            self.ask("devices", "revoke", name)
        return missed

    def pause(self, job):
        if self.ask("jobs", "pause", job) is not None:
            state = self.ask("jobs", "show", job)[0]["state"]
            if state not in ("paused", "done"):
                raise Broken(f"job {job} was paused, and is {state}")

    # ---- The sweep

    def sweep(self, queues, seed=1, random_kills=0):
        """Jobs, one after the other, until all queues are empty; points that nobody passed."""
        rng = random.Random(seed)
        self.queues = queues
        missed = []
        job = None
        while any(queues.values()) or self.armed or random_kills > 0:
            self.revive(queues)
            self.arm(queues)
            self.revive(queues)
            now = time.monotonic()
            for victim, (kill, since) in list(self.armed.items()):
                if now - since > PATIENCE_S:
                    missed.append(kill)
                    del self.armed[victim]
            if not any(queues.values()) and random_kills > 0:
                random_kills -= self.kill_some(rng, random_kills)
                self.revive(queues)
            job = self.step(job)
        self.queues = {}
        self.finish(job)
        for _ in MASKED if self.is_masked else []:  # nobody is lost any more
            self.is_whole = False
            self.finish(None)
            if not self.is_whole:
                raise Broken("a masked round without kills lost somebody")
        return missed

    def finish(self, job):
        """This job, or one more, to its end."""
        turn = self.turn + (job is None)
        while job or self.turn < turn:
            self.revive()
            job = self.step(job)

    def kill_some(self, rng, at_most):
        time.sleep(rng.uniform(0, 0.04))
        victims = rng.sample(["coordinator", *self.names], min(at_most, rng.randint(1, DEVICES + 1)))
        for name in victims:
            if name in self.processes and self.processes[name].poll() is None:
                self.processes[name].kill()
                self.processes[name].wait()
                self.died(name, "random")
        return len(victims)

    def step(self, job):
        kill = self.armed.get("coordinator")
        kind = kill[0].point.split(".")[0] if kill else ""
        if job is None and kind in ("enrol", "token", "revoke"):
            self.administer()
            return None
        if job is None:
            job = self.submit()
        if job and kind == "job":
            self.pause(job)
        if job and kind == "recover" and self.processes["coordinator"].poll() is None:
            self.processes["coordinator"].kill()  # it came up with nothing to go on with
            self.processes["coordinator"].wait()
            self.died("coordinator", "random")
            self.start_of["coordinator"] = -1.0  # not the death it waits for
            self.revive(self.queues)
            return job
        state = self.ask("jobs", "show", job)[0]["state"] if job else ""
        if state == "done":
            self.hold(job)
            return None
        if state == "paused":
            self.ask("jobs", "start", job)
        return job
