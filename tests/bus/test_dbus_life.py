#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# time limit: 240
"""tests/tables/dbus-inputs.md: one test a row, against vnicd with its datapath: callers that flood it, do not read, or go; the bus
that goes. What has to be slow is: the keeper is stopped for as long."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import hooks  # noqa: E402
from busports import UUID, UUID2, add, key, mac, path, ports, release_all, spec  # noqa: E402
from dbusbed import BUS_LIMIT, case, daemon, fails, rss_kib, said, slow, stopped, wait_said  # noqa: E402
from net import links  # noqa: E402
from rawbus import SYSTEM_BUS, Bus, DBusError  # noqa: E402
from vhost_client import Client  # noqa: E402
from vt import main, run, test, wait_for  # noqa: E402


@case("pending_calls_10000")
def _():
    b, other = Bus(timeout=30), Bus()
    serials = []
    with slow():
        for n in range(10000):
            serials.append(b.send("PortAdd", "a{sv}", spec(n)))
            if n % 500 == 0:
                while b.pump(0):
                    pass
                t = time.monotonic()
                assert other.get_all()["Version"]
                assert time.monotonic() - t < 5, "another client had to wait for seconds"
    taken, codes = 0, set()
    for s in serials:
        try:
            b.wait(s, timeout=60)
            taken += 1
        except DBusError as e:
            codes.add(e.code)
    # The bus, too, bounds what may wait for an answer.
    assert "LimitReached" in codes and codes <= {"LimitReached", BUS_LIMIT}, codes
    assert 32 <= taken < 2000, taken
    assert len(ports(other)) == taken
    b.close()


@case("pending_calls_many_clients")
def _():
    clients = [Bus() for _ in range(20)]
    other = Bus()

    def answers():
        for b in clients:
            while b.pump(0):
                pass
        return [m.error for b in clients for m in b.replies.values()]

    with slow():
        for i, b in enumerate(clients):
            for n in range(32):
                b.send("PortAdd", "a{sv}", spec(32 * i + n))
        wait_for("all but 256 calls refused", lambda: len(answers()) >= 640 - 256)
        assert set(answers()) == {"org.vnicd1.Error.LimitReached"} and len(answers()) == 640 - 256, len(answers())
        # They leave with their calls waiting: what was begun is undone.
        for b in clients:
            b.close()
    wait_for("all undone", lambda: not ports(other), timeout=20)
    assert not os.path.exists("/run/vnicd/sock/gold")


@case("client_never_reads")
def _():
    other = Bus()
    for n in range(20):
        add(other, n)
    before = rss_kib()
    deaf = Bus(timeout=5)
    deaf.sock.setsockopt(1, 8, 4096)  # SO_RCVBUF
    sent = 0
    try:
        for sent in range(10000):
            deaf.send("GetManagedObjects", interface="org.freedesktop.DBus.ObjectManager")
            if sent % 1000 == 0:
                assert other.get_all()["State"] == "running"
    except (TimeoutError, OSError):
        pass  # the bus takes no more of it
    t = time.monotonic()
    assert len(ports(other)) == 20
    assert time.monotonic() - t < 10
    assert rss_kib() < before + 64 * 1024, f"grew from {before} to {rss_kib()} KiB after {sent} calls"
    deaf.close()
    release_all(other)


@case("caller_gone")
def _():
    b, other = Bus(), Bus()
    with slow():
        b.send("PortAdd", "a{sv}", spec())
        wait_for("the port being made", lambda: key() in ports(other))
        assert ports(other)[key()]["State"] == "preparing"
        b.close()
    wait_for("the port undone", lambda: not ports(other))
    wait_for("nothing of it left", lambda: not os.path.exists("/run/vnicd/sock/gold") and "vn0-lan" not in links())


@case("caller_gone_release")
def _():
    b, other = Bus(), Bus()
    add(other)
    generation = ports(other)[key()]["Generation"]
    with slow():
        b.send("PortDel", "st", key(), generation)
        wait_for("the release begun", lambda: ports(other)[key()]["State"] == "releasing")
        b.close()
    wait_for("the port released", lambda: not ports(other))


@case("cancel_and_release")
def _():
    other = Bus()
    for i in range(50):
        a = Bus()
        a.send("PortAdd", "a{sv}", spec())
        if i % 3:
            wait_for("the port", lambda: ports(other).get(key()) or i % 3 == 2, timeout=5)
        p = ports(other).get(key())
        serial = other.send("PortDel", "st", key(), p["Generation"] if p else 1)
        a.close()
        try:
            other.wait(serial)
        except DBusError as e:
            assert e.code in ("UnknownPort", "StaleGeneration", "Busy"), e
        # The bus may tell of the caller's end before its call, and PortAdd be through before either.
        wait_for("no port, or one that is ready", lambda: all(p["State"] == "ready" for p in ports(other).values()))
        release_all(other)


@case("add_twice")
def _():
    b = Bus()
    with slow():
        serials = [b.send("PortAdd", "a{sv}", spec()) for _ in range(2)]
        e = fails(b.wait, serials[1])
        assert e.code == "Busy" and key() in e.message, e
    assert b.wait(serials[0]) == [path()]
    assert list(ports(b)) == [key()]


@case("step_fails")
def _():
    b = Bus()
    # Somebody else's interface has the tap's name, somebody else's file the socket's.
    run("ip", "link", "add", "vn0-lan", "type", "veth", "peer", "name", "vn0-peer")
    e = fails(add, b, name="web")
    assert e.code == "StepFailed" and "vn0-lan" in e.message, e
    assert not ports(b) and not os.path.exists("/run/vnicd/sock/gold")
    run("ip", "link", "del", "vn0-lan")
    os.mkdir("/run/vnicd/sock/gold")
    with open("/run/vnicd/sock/gold/web.sock", "w", encoding="ascii"):
        pass
    e = fails(add, b, name="web")
    assert e.code == "StepFailed" and "/run/vnicd/sock/gold/web.sock" in e.message and "remove it" in e.message, e
    wait_for("all undone", lambda: not ports(b) and "vn0-lan" not in links())
    os.unlink("/run/vnicd/sock/gold/web.sock")
    add(b, name="web")


def _system_bus(*options):
    p = subprocess.Popen(["dbus-daemon", "--system", "--nofork", "--nopidfile", "--nosyslog", *options],
                         stderr=subprocess.DEVNULL)
    wait_for("the bus", lambda: os.path.exists(SYSTEM_BUS))
    return p


def _bus_pids():
    """Bus daemons of this process namespace, which is the sandbox's own."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                if f.read().strip() == "dbus-daemon":
                    out.append(int(pid))
        except FileNotFoundError:
            pass
    return out


def _kill_bus():
    for pid in _bus_pids():
        os.kill(pid, 9)
    if os.path.exists(SYSTEM_BUS):
        os.unlink(SYSTEM_BUS)


@case("bus_restarts")
def _():
    before, b, other = said(), Bus(), Bus()
    add(other, name="web")
    seen = ports(other)[key()]
    with Client(seen["Socket"]).run():
        wait_for("the guest", lambda: ports(other)[key()]["State"] == "running")
        with slow():
            b.send("PortAdd", "a{sv}", spec(2))
            wait_for("the second port being made", lambda: key(2) in ports(other))
            _kill_bus()
            wait_said("not on the system bus: Connection", before)
        # Hooks do not need the bus.
        assert hooks.hook("prepare", UUID2, "db", [(mac(3), "gold", "db")])["ok"]
        assert hooks.hook("release", UUID2, "db", [(mac(3), "gold", "db")])["ok"]
        _system_bus()
        wait_said("on the system bus\n", before)
        b = Bus()
        # The first stays as it was, its guest connected; the second's caller has gone with the bus.
        wait_for("the port whose caller has gone undone", lambda: list(ports(b)) == [key()])
        now = ports(b)[key()]
        same = ("State", "Generation", "PeerPid", "QueuesActive", "Restarts", "Socket")
        assert [now[k] for k in same] == ["running", *(seen["Generation"], os.getpid(), 1, 0, seen["Socket"])], now
        assert b.get_all()["State"] == "running"


@case("bus_hangs")
def _():
    nics = [(mac(n), "gold", f"web{n}") for n in range(8)]
    before, words = rss_kib(), said()
    with stopped(*_bus_pids()):
        for n in range(4000):
            assert hooks.hook("prepare", UUID, "web", nics)["ok"] and hooks.hook("release", UUID, "web", nics)["ok"]
            if "does not take" in said()[len(words):]:
                break
        else:
            raise AssertionError("it queues for ever")
        assert rss_kib() < before + 16 * 1024, f"grew from {before} to {rss_kib()} KiB"
        assert hooks.hook("prepare", UUID, "web", nics[:1])["ok"]
    wait_said("on the system bus\n", words)
    assert list(ports(Bus())) == [key(0)]


@test("bus_hangs_at_start")
def _():
    d = daemon()
    d.daemon.stop()
    before = said()
    with stopped(*_bus_pids()):
        d.daemon.start()
        wait_said("the bus does not answer", before)
    wait_said("on the system bus\n", before)
    assert Bus().get_all()["State"] == "running"


@test("bus_absent_at_start")
def _():
    d = daemon()
    d.daemon.stop()
    before = said()
    _kill_bus()
    d.daemon.start()
    wait_said("not on the system bus: No such file", before)
    _system_bus()
    wait_said("on the system bus\n", before)
    b = Bus()
    add(b)
    release_all(b)
    d.stop()


main()
