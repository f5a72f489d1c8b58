#!/usr/bin/env python3
"""A disk that is full: rounds wait, or go on from the reserve; nothing that was promised is lost."""
import ctypes
import errno
import os

import fleet

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
SPEC = "2 - dense 1000 relu - dense 500 relu - dense 2 softmax"
ROWS = [f"{i % 16},{(i * 7) % 16},{int(i % 16 > 7)}" for i in range(40)]
JOB = {"rounds": 4, "cohort": 1, "batch": 16, "learning_rate": 0.01, "local_epochs": 20}
SIZE_MIB = 48


def own_mounts():
    """Mounts that only this process and its children see. False: we may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    return (libc.unshare(CLONE_NEWNS) == 0
            and libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) == 0)


class FullDiskTest(fleet.Case):
    @classmethod
    def setUpClass(cls):
        if not own_mounts():
            raise fleet.unittest.SkipTest("no right to mount a small disk")

    def begin(self, tried):
        """The coordinator's directory on a disk of its own."""
        moved = tried.root / "moved"
        tried.dir.rename(moved)
        tried.dir.mkdir()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"none", os.fsencode(tried.dir), b"tmpfs", 0, f"size={SIZE_MIB}m".encode()):
            raise fleet.unittest.SkipTest("a small disk cannot be mounted")
        self.addCleanup(libc.umount2, os.fsencode(tried.dir), 2)
        fleet.shutil.copytree(moved, tried.dir, dirs_exist_ok=True)
        tried.start_coordinator()
        tried.add_device("one", ROWS)
        tried.start_device("one")
        tried.wait_connected(1)

    def fill(self, tried, leave=0):
        """Others take all the room but so many bytes."""
        with open(tried.dir / "others", "wb") as file:
            for _ in range(20):  # the coordinator may take some of it in between
                disk = os.statvfs(tried.dir)
                try:
                    os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - leave)
                    return
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENOSPC)
        self.fail("it takes all the room itself")

    def test_rounds_wait_for_room(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            self.assertEqual((tried.dir / "reserve").stat().st_size, 16 << 20)
            self.fill(tried, leave=3 << 20)
            job = tried.submit(SPEC, ROWS, **JOB)
            fleet.wait_until(lambda: tried.status()["disk_full"], "it is full")
            self.assertIn("id=disk-full", tried.log("coordinator"))
            status = tried.status()
            self.assertEqual((status["connected"], status["receipts"]), (1, {}))
            doctor = tried.try_ctl("doctor")
            self.assertEqual(doctor.returncode, 6)
            self.assertIn("rounds wait for room: for the reserve of ", doctor.stdout)
            tried.ctl("devices", "token")  # it serves
            os.unlink(tried.dir / "others")
            tried.wait_for_job(job)
            self.assertFalse(tried.status()["disk_full"])
            said = tried.try_ctl("doctor").stdout  # there is little, and enough
            self.assertRegex(said, r"(?m)^disk +yes +\d+ MiB free in .* beside the reserve of 16 MiB")
            tried.end("coordinator")
            (tried.dir / "reserve").unlink()
            self.fill(tried, leave=1 << 20)
            tried.start_coordinator()  # with nothing to do, it tries for itself
            self.assertTrue(tried.status()["disk_full"])
            os.unlink(tried.dir / "others")
            fleet.wait_until(lambda: not tried.status()["disk_full"], "it has its reserve again")
            self.assertEqual({row["state"] for row in tried.ctl("rounds", "ls")}, {"committed"})

    def test_what_was_begun_is_finished_from_the_reserve(self):
        with fleet.Fleet() as tried:
            self.begin(tried)
            job = tried.submit(SPEC, ROWS, **JOB)
            fleet.wait_until(lambda: tried.status()["round_state"] == "collecting", "a round is open")
            self.fill(tried)
            process = tried.processes.pop("coordinator")
            self.assertEqual(process.wait(fleet.PATIENCE_S), 6)
            self.assertIn("id=reserve-used", tried.log("coordinator"))
            self.assertFalse((tried.dir / "reserve").exists())
            receipts = tried.log("one").count("ACCEPTED")
            # Room for a reserve again, but the round that is open needs it.
            self.fill(tried, leave=(16 << 20) + (64 << 10))
            tried.start_coordinator()
            fleet.wait_until(lambda: tried.ctl("rounds", "ls"), "the round is finished")
            self.assertTrue(tried.status()["disk_full"])
            rounds = tried.ctl("rounds", "ls")
            self.assertEqual([row["state"] for row in rounds], ["committed"] * len(rounds))
            self.assertGreaterEqual(len(rounds), max(1, receipts))
            self.assertEqual(tried.ctl("jobs", "show", job)[0]["state"], "active")
            os.unlink(tried.dir / "others")
            tried.wait_for_job(job)
            self.assertEqual((tried.dir / "reserve").stat().st_size, 16 << 20)
            self.assertEqual([(row["round"], row["accepted"]) for row in tried.ctl("rounds", "ls")],
                             [(number, 1) for number in range(1, JOB["rounds"] + 1)])
            self.assert_books_balance(tried)


if __name__ == "__main__":
    fleet.main()
