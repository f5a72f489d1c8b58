"""Keys of devices and of the coordinator change between two jobs, and somebody dies of it."""
import os
import re
import signal
import time

from oracle import Broken, fleet
from world import PATIENCE_S, Kill

# Points of commands, which are passed once by their nature: as often as others have passes.
OF_COMMANDS = {"rotate.made", "rotate.known", "rotate.swapped",
               "keys.made", "keys.stated", "keys.swapped"}
NOT_YET = {"keys.made"}  # whoever dies there has changed nothing
STATEMENT = re.compile(r"statement (\d+) ")


class Rekeying:
    """In a world between two jobs; after each death there is one in which all count."""

    def __init__(self, world):
        self.world = world
        self.missed = []
        self.rotations = 0  # of the coordinator's keys, those that are stated

    def stop(self, name):
        process = self.world.processes.pop(name)
        process.kill()
        process.wait()
        if name == "coordinator":
            self.world.oracle.look()

    def start(self, name, point=None, hit=1):
        if point:
            self.world.armed[name] = (Kill(name, point, hit), time.monotonic())
        self.world.begin_process(name)

    def command(self, name, point, *words):
        """A command that changes the keys of somebody who does not run; it dies at a point, or is done."""
        self.stop(name)
        env = {**os.environ, "TRIB_CRASH": f"{point}:1"} if point else None
        done = fleet.run(*words, env=env)
        if point and done.returncode == -signal.SIGKILL:
            self.world.died(name, point)
        elif point:
            self.missed.append(Kill(name, point, 1))
        self.start(name)
        return done

    def change_device(self, name, point=None):
        return self.command(name, point, "tributary-client", "rotate", self.world.root / name)

    def change_coordinator(self, point=None):
        done = self.command("coordinator", point, "tributary-coordinator", "keys", "rotate",
                            self.world.dir)
        if done.returncode not in (0, -signal.SIGKILL):
            raise Broken(f"keys rotate: {done.stderr}")
        self.rotations += point not in NOT_YET
        self.hold()

    def hold(self):
        """Nothing is half done, and what was done is recorded."""
        world = self.world
        if (world.dir / "coordinator.key.next").exists():
            raise Broken("a start left the coordinator's next key")
        recorded = [int(STATEMENT.match(row["subject"])[1]) for row in world.ask("audit", "ls")
                    if row["action"] == "keys rotate"]  # of the newest records
        wanted = list(range(1, self.rotations + 1))[-max(1, len(recorded)):]
        if not world.ask("audit", "verify")[0]["whole"] or recorded != wanted:
            raise Broken(f"{self.rotations} rotations, the newest of them recorded: {recorded}")

    def former(self):
        return [row for row in self.world.ask("keys", "list") if row["former"] == "answered"]

    def follow(self):
        """Everybody pins the newest key; the former ones are retired, and shut out nobody."""
        fleet.wait_until(lambda: not any(row["behind"] or row["unheard"] for row in self.former()),
                         "all devices follow", PATIENCE_S)
        for row in self.former():
            self.world.ask("keys", "retire", row["id"])
        self.world.finish(None)

    def wait_for_death(self, victim):
        """Who was started to die has, and is back."""
        process = self.world.processes[victim]
        try:
            fleet.wait_until(lambda: process.poll() is not None, "it dies", PATIENCE_S)
        except AssertionError:
            self.missed.append(self.world.armed.pop(victim)[0])
        self.world.revive()

    # ---- One death

    def die_of_command(self, name, point):
        if point.startswith("keys."):
            self.change_coordinator(point)
            self.follow()
            self.change_coordinator()
            self.follow()
            return
        self.change_device(name, point)
        self.world.finish(None)
        again = self.change_device(name)
        if again.returncode or (self.world.root / name / "device.key.next").exists():
            raise Broken(f"{name} cannot change its keys after {point}: {again.stderr}")
        self.world.finish(None)

    def die_of_devices(self, point, hit):
        """The coordinator, of a device's command: it is passed once by each."""
        self.stop("coordinator")
        self.start("coordinator", point, hit)
        for i in range(hit):
            name = self.world.names[i % len(self.world.names)]
            self.change_device(name)
        self.wait_for_death("coordinator")
        if self.change_device(name).returncode:
            raise Broken(f"{name} cannot change its keys after {point}:{hit}")
        self.world.finish(None)

    def die_of_following(self, name, point, hit):
        """A device that follows one key after another."""
        self.stop(name)
        self.start(name, point, hit)
        for i in range(hit):
            self.change_coordinator()
            if i + 1 < hit:
                self.follow()
        self.wait_for_death(name)
        self.follow()

    def die_of_retiring(self, point, hit):
        for _ in range(hit):
            self.change_coordinator()
            self.world.finish(None)
        former = self.former()
        self.stop("coordinator")
        self.start("coordinator", point, hit)
        for row in former:
            self.world.try_ctl("keys", "retire", row["id"])
        self.wait_for_death("coordinator")
        if len(former) != hit or self.former():
            raise Broken(f"{point}:{hit}: {former} were retired, {self.former()} are answered")
        self.follow()


def change_keys(world, coordinator, client, hits):
    """Each of these points at these passes; those that nobody passed."""
    keys = Rekeying(world)
    for turn, hit in enumerate(hits):
        name = world.names[turn % len(world.names)]
        for point in [*coordinator, *client]:
            if point in OF_COMMANDS:
                keys.die_of_command(name, point)
            elif point == "keys.retired":
                keys.die_of_retiring(point, hit)
            elif point in coordinator:
                keys.die_of_devices(point, hit)
            else:
                keys.die_of_following(name, point, hit)
    return keys.missed
