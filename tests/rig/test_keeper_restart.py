#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.1/9
# time limit: 560
"""vnicd-datapath.service killed, restarted and upgraded under the real systemd, with played front ends: their connections
stay, and its store holds what it should. In a host VM of the rig; rows of tests/tables/restart.md."""
import os
import re
import shutil
import signal
import sys
import time

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), "/root/tests/rig"]
import inside  # noqa: E402
from control_client import Control, listener, port  # noqa: E402
from played import KEY_A, KEY_B, UUID, Stream, alive, configure, exchange, new_client, states  # noqa: E402
from vhost_client import SET_VRING_CALL, Client, eventfd, u64  # noqa: E402
from vt import run, test, wait_for  # noqa: E402

UNIT = "vnicd-datapath.service"
PROGRAM = "/usr/sbin/vnicd-datapath"
GAP = 0.2
TRIES = 5


def prop(name):
    return run("systemctl", "show", "-P", name, UNIT).strip()


def pid():
    return int(prop("MainPID"))


def stored():
    """How many descriptors systemd keeps for it."""
    return int(prop("NFileDescriptorStore"))


def settled(n=None):
    """Their number once systemd has worked off what it was told; it is n where one is given."""
    seen = [stored()]

    def same():
        seen.append(stored())
        return seen[-1] == seen[-2] and (n is None or seen[-1] == n)
    try:
        wait_for("the store to settle", same, 10, 0.2)
    except AssertionError:
        raise AssertionError(f"{seen[-1]} descriptors in the store, not {n}: {said()}") from None
    return seen[-1]


def said(lines=25):
    return run("journalctl", "-q", "--no-pager", "-o", "cat", "-n", str(lines), "-u", UNIT)


def again(old):
    """Until another keeper serves."""
    wait_for("the next keeper", lambda: pid() not in (0, old) and prop("ActiveState") == "active", 20, 0.05)


def crash():
    old = pid()
    os.kill(old, signal.SIGKILL)
    again(old)


def restart():
    old = pid()
    run("systemctl", "restart", UNIT)
    again(old)


class Bed:
    """Two played guests over the service."""

    def __enter__(self):
        run("systemctl", "stop", "vnicd.service", UNIT)
        run("systemctl", "start", UNIT)
        configure()
        self.empty = settled()
        self.a, self.b = Client("/run/a"), Client("/run/b")
        self.a.run()
        self.b.run()
        exchange(self.a, self.b)
        settled()
        return self.a, self.b

    def __exit__(self, kind, *exc):
        self.a.close()
        self.b.close()
        if kind is not None:
            print("# " + said().replace("\n", "\n# "))


def hands():
    """What the keeper says of the rings' change of hands; the rest of a gap is this one CPU's, which all share."""
    log = said(40)
    took = re.findall(r"took over \d+ ports in (\d+) us$", log, re.M)
    return (f"rings changed hands in {int(took[-1]) / 1000:.1f} ms" if took else "no word of the rings") + (
        ", a worker was killed for it" if "does not make way" in log.split("Stopping ")[-1] else "")


def gap_of(act, prepare=lambda: None):
    """The longest gap in a stream at each of several deaths; their median is below GAP."""
    gaps = []
    with Bed() as (a, b):
        full = settled()
        for _ in range(TRIES):
            prepare()
            with Stream(a, b, rate=200) as s:
                act()
                time.sleep(0.5)
            gaps.append(s.gap)
            print(f"# longest gap {s.gap * 1000:.0f} ms of {s.sent} frames, {hands()}", flush=True)
            alive(a, b)
            assert settled() == full, f"{full} descriptors became {stored()}"
            time.sleep(2.2)  # not so many short lives in a row that the keeper starts from nothing
    median = sorted(gaps)[TRIES // 2]
    print(f"# the median is {median * 1000:.0f} ms", flush=True)
    assert median < GAP, f"{median * 1000:.0f} ms"


@test("rig-keeper-kill")
def kill():
    gap_of(crash)


@test("rig-keeper-restart")
def restarted():
    gap_of(restart)


@test("rig-keeper-upgrade")
def upgrade():
    """The program file is replaced, as a package does, then the service restarted."""
    def act():
        os.rename(PROGRAM + ".new", PROGRAM)
        restart()
        assert os.stat(f"/proc/{pid()}/exe").st_ino == os.stat(PROGRAM).st_ino
    gap_of(act, lambda: shutil.copy2(PROGRAM, PROGRAM + ".new"))


@test("rig-keeper-absent")
def absent():
    """No keeper can be started for a while: frames pass, and the next one goes on."""
    with Bed() as (a, b):
        with Stream(a, b, rate=200) as s:
            old = pid()
            os.rename(PROGRAM, PROGRAM + ".away")
            try:
                os.kill(old, signal.SIGKILL)
                wait_for("systemd to fail", lambda: int(prop("NRestarts")) > 3, 20, 0.05)
                had = len(s.got)
                wait_for("frames without a keeper", lambda: len(s.got) > had + 100, 10)
            finally:
                os.rename(PROGRAM + ".away", PROGRAM)
            again(old)
        alive(a, b)
        exchange(a, b)


@test("rig-keeper-upgrade-broken")
def upgrade_broken():
    """The new version's workers do not run: the old one goes on, until the old version is put back."""
    shutil.copy2(PROGRAM, PROGRAM + ".good")
    with open(PROGRAM, "rb") as f:
        program = f.read()
    assert program.count(b"--worker\0") == 1
    with open(PROGRAM + ".bad", "wb") as f:
        f.write(program.replace(b"--worker\0", b"--walker\0"))
    os.chmod(PROGRAM + ".bad", 0o755)
    with Bed() as (a, b):
        with Stream(a, b, rate=100) as s:
            try:
                os.rename(PROGRAM + ".bad", PROGRAM)
                old = pid()
                run("systemctl", "restart", "--no-block", UNIT)
                wait_for("systemd to try again", lambda: "from before the restart goes on" in said(60)
                         and "timeout" in said(60) and pid() not in (0, old), 40, 0.2)
                had = len(s.got)
                wait_for("frames without a keeper", lambda: len(s.got) > had + 100, 10)
            finally:
                os.rename(PROGRAM + ".good", PROGRAM)
            run("systemctl", "restart", UNIT)
        alive(a, b)
        exchange(a, b)
        assert {p["state"] for p in states().values()} == {"running"}, states()


@test("rig-keeper-reexec")
def reexec():
    """systemd itself is replaced, and its configuration read anew, between two deaths."""
    with Bed() as (a, b):
        run("systemctl", "daemon-reexec")
        crash()
        exchange(a, b, 1)
        run("systemctl", "daemon-reload")
        a.do(SET_VRING_CALL, u64(0), [a.keep(eventfd())])
        crash()
        exchange(a, b, 2)
        alive(a, b)


@test("rig-keeper-nothing-left")
def nothing_left():
    bed = Bed()
    with bed as (a, b):
        a.close()
        b.close()
        settled(bed.empty)
        with Control() as c:
            c.hello()
            for key in (KEY_A, KEY_B):
                c.ask("port-del", key=key, generation=1)
            c.ask("segment-del", name="lan")
        settled(2)
        crash()
        settled(2)
        assert states() == {}


@test("rig-keeper-stop")
def stop():
    """Stopped for good it holds nobody's memory, and its workers were at rest before guests saw its end."""
    with Bed() as (a, b):
        since = time.time()
        run("systemctl", "stop", UNIT)
        log = run("journalctl", "-q", "--no-pager", "-o", "cat", "--since", f"@{since:.3f}", "-u", UNIT)
        assert "remains running" not in log, log
        assert a.dropped() and b.dropped()
        assert stored() == 0, stored()
        run("systemctl", "start", UNIT)
        assert states() == {}


@test("rig-keeper-watchdog")
def watchdog():
    """One that hangs is ended by systemd's watchdog, and its successor goes on."""
    with Bed() as (a, b):
        old = pid()
        os.makedirs("/run/systemd/system/" + UNIT + ".d", exist_ok=True)
        try:
            with open(f"/run/systemd/system/{UNIT}.d/test.conf", "w", encoding="ascii") as f:
                f.write("[Service]\nWatchdogSec=2\n")
            run("systemctl", "daemon-reload")
            restart()
            old = pid()
            os.kill(old, signal.SIGSTOP)
            again(old)
            assert "atchdog" in said(40), said(40)
            exchange(a, b)
            alive(a, b)
        finally:
            shutil.rmtree(f"/run/systemd/system/{UNIT}.d")
            run("systemctl", "daemon-reload")


@test("rig-keeper-many")
def many():
    """64 ports: their names fit, and all go on."""
    clients = []
    with Bed() as (a, b):
        with Control() as c:
            c.hello()
            for n in range(62):
                s = listener(f"/run/many{n}")
                c.ask("port-set", [s.fileno()], **port(f"{UUID}/52:54:00:00:01:{n:02x}", queues=8))
                s.close()
        try:
            for n in range(62):
                x = Client(f"/run/many{n}")
                clients.append(x)
                x.negotiate().memory(1 << 20)
                for i in range(16):
                    x.call[i] = x.keep(eventfd())
                    x.do(SET_VRING_CALL, u64(i), [x.call[i]])
            n = settled()
            assert n > 62 * 19, n
            start = time.monotonic()
            crash()
            exchange(a, b)
            print(f"# 64 ports, {n} descriptors: back after {time.monotonic() - start:.2f} s", flush=True)
            alive(a, b, *clients)
            assert settled() == n
            new_client(clients.pop(), "/run/many61").close()
        finally:
            for x in clients:
                x.close()


if __name__ == "__main__":
    inside.main(__file__, limit=520)
