#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers that outlive their keeper, or are to: tests/tables/restart.md."""
# time limit: 200
import fcntl
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from datapath import find  # noqa: E402
from played import A, B, Stream, alive, exchange, new_client, states  # noqa: E402
from restartbed import Bed, unmarked  # noqa: E402
from vhost_client import frame  # noqa: E402
from vt import main, test, wait_for  # noqa: E402


@test("restart-worker-waits")
def worker_waits():
    """The old worker is not quite dead: the new one does not touch a ring before it is."""
    with Bed() as (m, a, b):
        fd, = [fd for fd in m.fds("f") if "vnicd-worker" in os.readlink(f"/proc/self/fd/{fd}")]
        old = m.workers()
        m.kill()
        end(*old)
        held, release = os.pipe()
        holder = os.fork()
        if holder == 0:
            os.close(release)
            fcntl.lockf(fd, fcntl.LOCK_EX)
            os.read(held, 1)
            os._exit(0)
        os.close(held)
        f = frame(B, A, b"early")
        a.transmit(f)
        try:
            m._spawn()
            while not gone(holder):
                assert not b.more(), "two workers on one ring"
                time.sleep(0.002)
            m.wait_ready()
            assert m.said().count("does not make way") == 1, m.said()
        finally:
            os.close(release)
            os.waitpid(holder, 0)
        b.wait_frame(f)
        alive(a, b)


def gone(pid):
    """It has ended, and maps nothing any more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def end(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        wait_for("its end", lambda p=pid: gone(p), 5, 0.001)


@test("restart-worker-goes-on")
def worker_goes_on():
    """No keeper for a while, and nobody notices: the old worker goes on, and ends when the next keeper's takes over."""
    with Bed() as (m, a, b):
        old = m.workers()
        with Stream(a, b) as s:
            m.kill()
            had = len(s.got)
            wait_for("frames to pass without a keeper", lambda: len(s.got) > had + 200, 10)
            assert not any(map(gone, old))
            m.again()
            assert all(map(gone, old)) and len(m.workers()) == 1 and m.workers() != old
        print(f"# longest gap {s.gap * 1000:.1f} ms of {s.sent} frames")
        alive(a, b)


@test("restart-worker-stopped")
def worker_stopped():
    """The old worker hangs, and does not make way: it is killed, and nothing is lost."""
    with Bed() as (m, a, b):
        for _ in range(3):
            old = m.workers()
            with Stream(a, b):
                os.kill(old[0], signal.SIGSTOP)
                m.crash()
                assert gone(old[0]) and "does not make way" in m.said()
        alive(a, b)


@test("restart-worker-dead")
def worker_dead():
    """Keeper and worker are both killed, in either order."""
    with Bed() as (m, a, b):
        for n in range(4):
            old = m.workers()
            with Stream(a, b):
                if n % 2:
                    os.kill(old[0], signal.SIGKILL)
                m.kill()
                if not n % 2:
                    end(*old)
                m.again()
        alive(a, b)


@test("restart-worker-stored-not")
def worker_stored_not():
    """Nobody has the worker's socket any more: it ends by itself."""
    with Bed() as (m, a, b):
        old = m.workers()
        name, = [n for n in m.names() if n.startswith("w")]
        m.kill()
        assert not gone(old[0])
        m.replace(name, None)
        wait_for("the worker's end", lambda: gone(old[0]), 5, 0.01)
        m.again()
        exchange(a, b)
        alive(a, b)


@test("restart-worker-bound")
def worker_bound():
    """The manager had not taken a connection yet that the worker serves: it ends with the keeper."""
    with Bed(run=False) as (m, a, b):
        b.run()
        m.hold = True
        time.sleep(0.1)
        a.run()
        exchange(a, b)
        old = m.workers()
        m.proc.kill()
        m.proc.wait(10)
        wait_for("the worker's end", lambda: gone(old[0]), 5, 0.001)
        m.hold = False
        m.again()
        if a.dropped(0.2):
            a = new_client(a, "/run/a")
        exchange(a, b)
        unmarked()
        old = m.workers()
        m.kill()
        assert not gone(old[0])
        m.again()
        alive(a, b)
        a.close()


@test("restart-upgrade-broken")
def upgrade_broken():
    """The new version's workers do not run: the old one goes on until there is a version whose workers do."""
    broken = "/run/broken-datapath"
    with open(find("vnicd-datapath"), "rb") as f:
        program = f.read()
    assert program.count(b"--worker\0") == 1
    with open(broken, "wb") as f:
        f.write(program.replace(b"--worker\0", b"--walker\0"))
    os.chmod(broken, 0o755)
    with Bed() as (m, a, b):
        old, good = m.workers(), m.argv
        with Stream(a, b) as s:
            m.stop_service()
            m.argv = [broken, "--managed"]
            m._spawn()
            wait_for("it to be said", lambda: "from before the restart goes on" in m.said(), 15)
            had = len(s.got)
            wait_for("frames to pass", lambda: len(s.got) > had + 100, 10)
            assert not gone(old[0]) and not m.ready.is_set()
            m.stop_service()
            m.argv = good
            m.start()
            assert gone(old[0]) and m.workers()
        print(f"# longest gap {s.gap * 1000:.1f} ms")
        alive(a, b)
        assert {p["state"] for p in states().values()} == {"running"}


main()
