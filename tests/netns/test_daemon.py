#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd and vnicd-datapath, with no guest: what the daemon does as the host changes around it."""
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hoststate  # noqa: E402
from daemon import CONF, Service, Vnicd  # noqa: E402
from net import Bridge, ip, links  # noqa: E402
from vt import main, run, test, wait_for  # noqa: E402

UUID = "11111111-2222-3333-4444-555555555555"
PIDFILE = "/run/libvirt/qemu/web.pid"
MAC = "52:54:00:00:00:01"
SOCK = "/run/vnicd/sock/gold/web.sock"
bed = {}


class Hook:
    """A hook's connection."""

    def __init__(self, op, **more):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(20)
        self.s.connect("/run/vnicd/hook.sock")
        nic = {"mac": MAC, "type": "vhostuser", "socket": SOCK, "mode": "client", "reconnect": True,
               "model": "virtio", "queues": 1, "teaming": None}
        message = {"op": op, "version": 1, "interfaces": [nic], "overrides": [],
                   "domain": {"uuid": UUID, "name": "web", "shared_memory": True, "pidfile": PIDFILE}}
        message.update(more)
        self.s.send(json.dumps(message).encode())

    def answer(self):
        with self.s:
            return json.loads(self.s.recv(65536) or "null")


def ask(op, **more):
    return Hook(op, **more).answer()


def at_once(op):
    """A hook's connection, or None while nobody listens."""
    try:
        return Hook(op)
    except OSError:
        return None


class Living:
    """A domain that lives: somebody holds the lock on its pidfile."""

    def __enter__(self):
        self.pid = os.fork()
        if self.pid == 0:
            os.makedirs(os.path.dirname(PIDFILE), exist_ok=True)
            with open(PIDFILE, "w", encoding="utf-8") as f:
                fcntl.lockf(f, fcntl.LOCK_EX)
                f.write(str(os.getpid()))
                f.flush()
                signal.alarm(120)
                signal.pause()
            os._exit(0)
        wait_for("the pidfile", lambda: os.path.exists(PIDFILE) and os.path.getsize(PIDFILE))
        return self

    def __exit__(self, *exc):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.unlink(PIDFILE)


def house():
    """The bridge and both programs; they serve all tests."""
    if not bed:
        bed["bridge"] = Bridge("br0", "10.9.0.254/24", mac="52:54:00:00:ff:fe")
        bed["v"] = Vnicd(CONF, units=True).start()
        bed["v"].wait_connected()
        bed["before"] = hoststate.snapshot()
    return bed["v"]


def as_before():
    hoststate.same_again(bed["before"])


def prepared():
    a = ask("prepare")
    assert a.get("ok"), a
    return a


def released():
    a = ask("release")
    assert a.get("ok"), a


@test("a hook's prepare makes the port, release puts the host back")
def _():
    v = house()
    a = prepared()
    assert a["ports"] == [{"mac": MAC, "socket": SOCK, "path": "software"}], a
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect(SOCK)  # it listens
    tap = links()["vn0-lan"]
    assert tap["master"] == "br0" and "UP" in tap["flags"], tap
    assert v.ports()[MAC]["state"] == "ready", v.ports()
    released()
    assert not v.ports()
    as_before()


@test("two NICs of which one is refused: none is made")
def _():
    house()
    nics = [{"mac": MAC, "type": "vhostuser", "socket": SOCK, "mode": "client"},
            {"mac": "52:54:00:00:00:02", "type": "vhostuser", "socket": "/run/vnicd/sock/golden/b.sock",
             "mode": "client"}]
    a = ask("prepare", interfaces=nics)
    assert a["error"]["code"] == "UnknownClass" and "52:54:00:00:00:02" in a["error"]["message"], a
    as_before()


@test("a hook that hangs up at once leaves nothing")
def _():
    v = house()
    for _i in range(20):
        Hook("prepare").s.close()
    wait_for("no port", lambda: not v.ports())
    as_before()


@test("silent, oversized and broken clients of the hook's socket do not disturb others")
def _():
    house()
    silent = []
    for _i in range(300):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(20)
        s.connect("/run/vnicd/hook.sock")
        silent.append(s)
    for text in (b"{", b"[]", b"\0", b"{\"op\":1}", b"x" * 65536):
        s = silent.pop()
        s.send(text)
    t = time.monotonic()
    prepared()
    assert time.monotonic() - t < 15, "those who say nothing hold up the others"
    released()
    for s in silent:
        s.close()
    as_before()


@test("a domain that runs keeps its ports; ended without a word, it loses them")
def _():
    v = house()
    with Living():
        prepared()
        assert ask("started").get("ok")
        a = ask("release")
        assert a["error"]["code"] == "Busy", a
        assert MAC in v.ports()
    v.wait_port(MAC, None, timeout=25)
    as_before()


@test("SIGTERM leaves the ports; the next vnicd knows them, and their sockets stay the same")
def _():
    v = house()
    prepared()
    assert ask("started").get("ok")
    with Living():
        inode = os.stat(SOCK).st_ino
        generation = v.ports()[MAC]["generation"]
        v.daemon.stop()
        assert os.path.exists(SOCK) and "vn0-lan" in links()
        v.daemon.start()
        v.wait_connected()
        assert v.ports()[MAC]["generation"] == generation
        assert os.stat(SOCK).st_ino == inode
    released()
    as_before()


@test("a start or started that comes while vnicd starts waits until it knows its ports")
def _():
    v = house()
    prepared()
    for op in ("start", "started") * 5:
        v.daemon.kill()
        answers = []
        asker = threading.Thread(target=lambda op=op, answers=answers: answers.append(
            wait_for("the socket", lambda: at_once(op), every=0).answer()))
        asker.start()
        v.daemon.start()
        asker.join()
        assert answers and answers[0].get("ok"), f"{op}: {answers}"
    assert any("\"started\":true" in open(f"/run/vnicd/ports/{n}", encoding="utf-8").read().replace(" ", "")
               for n in os.listdir("/run/vnicd/ports"))
    released()
    v.wait_connected()
    as_before()


@test("a second vnicd ends at once and changes nothing")
def _():
    v = house()
    prepared()
    p = run("vnicd", check=False, timeout=10)
    assert p.returncode == 1 and "another vnicd runs" in p.stderr, p
    assert v.ports()[MAC]["state"] == "ready"
    released()
    as_before()


@test("the tap is deleted: it is made again, and leads into the bridge")
def _():
    v = house()
    prepared()
    was = links()["vn0-lan"]["ifindex"]
    ip("link", "del", "vn0-lan")

    def again():
        tap = links().get("vn0-lan")
        return tap and tap["ifindex"] != was and tap.get("master") == "br0" and "LOWER_UP" in tap["flags"]
    wait_for("the tap to be back, and held by the datapath", again)
    assert v.ports()[MAC]["state"] == "ready"
    released()
    as_before()


@test("the tap is taken out of its bridge and set down: it goes back")
def _():
    house()
    prepared()
    ip("link", "set", "vn0-lan", "nomaster")
    ip("link", "set", "vn0-lan", "down")
    wait_for("the tap to be back", lambda: links()["vn0-lan"].get("master") == "br0" and
             "UP" in links()["vn0-lan"]["flags"])
    released()
    as_before()


@test("the tap's alias is changed, and vnicd started anew: it is known and goes all the same")
def _():
    v = house()
    prepared()
    assert ask("started").get("ok")
    with Living():
        ip("link", "set", "vn0-lan", "alias", "mine")
        v.daemon.stop()
        v.daemon.start()
        v.wait_connected()
        assert v.ports()[MAC]["state"] == "ready"
    released()
    as_before()


@test("the bridge is renamed: the segment says so; renamed back, all is well")
def _():
    v = house()
    prepared()
    ip("link", "set", "br0", "down")
    ip("link", "set", "br0", "name", "br9")
    ip("link", "set", "br9", "up")
    wait_for("the tap to leave it", lambda: "master" not in links()["vn0-lan"])
    a = ask("prepare", domain={"uuid": UUID[:-1] + "6", "name": "db", "pidfile": ""},
            interfaces=[{"mac": "52:54:00:00:00:02", "type": "vhostuser", "mode": "client",
                         "socket": "/run/vnicd/sock/gold/db.sock"}])
    assert a["error"]["code"] == "NoPath" and "br0" in a["error"]["message"], a
    ip("link", "set", "br9", "down")
    ip("link", "set", "br9", "name", "br0")
    ip("link", "set", "br0", "up")
    wait_for("the tap to be back", lambda: links()["vn0-lan"].get("master") == "br0")
    wait_for("a healthy segment", lambda: v.ctl("segment", "show")["segments"][0]["bridge_present"])
    released()
    as_before()


@test("a broken configuration is refused whole at reload, and keeps a new vnicd from starting")
def _():
    v = house()
    v.configure(CONF + "\n[class red]\nsegment=wan\n")
    os.kill(v.daemon.pid, signal.SIGHUP)
    wait_for("the refusal", lambda: "[class red] segment:" in v.daemon.said())
    assert ask("prepare").get("ok")
    released()
    broken = Service("vnicd-broken", "vnicd")
    v.daemon.stop()
    broken.start()
    assert broken.proc.wait(10) == 78 and "there is no segment 'wan'" in broken.said(), broken.said()
    v.configure(CONF)
    v.daemon.start()
    v.wait_connected()
    as_before()


@test("a new rate reaches a port that is there; its VLAN waits for the next start")
def _():
    v = house()
    prepared()
    v.configure(CONF.replace("vlans=0,12\n", "vlans=0,12\nvlan=12\nrate=1gbit\n"))
    os.kill(v.daemon.pid, signal.SIGHUP)
    wait_for("the rate", lambda: v.ports()[MAC]["rate"] == 10**9)
    assert v.ports()[MAC]["vlan"] == 0
    v.configure(CONF)
    os.kill(v.daemon.pid, signal.SIGHUP)
    wait_for("the old rate", lambda: v.ports()[MAC]["rate"] == 0)
    released()
    as_before()


@test("the datapath is away: a start waits for it, then says what to do; back, it is told everything")
def _():
    v = house()
    prepared()
    v.keeper.kill()
    other = {"domain": {"uuid": UUID[:-1] + "6", "name": "db", "pidfile": ""},
             "interfaces": [{"mac": "52:54:00:00:00:02", "type": "vhostuser", "mode": "client",
                             "socket": "/run/vnicd/sock/gold/db.sock"}]}
    waiting = Hook("prepare", **other)
    time.sleep(0.5)
    v.keeper.start()
    assert waiting.answer().get("ok")
    assert set(v.ports()) == {MAC, "52:54:00:00:00:02"}
    v.wait_port(MAC, "ready")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect(SOCK)
    assert ask("release", **other).get("ok")
    released()
    v.keeper.kill()
    a = ask("prepare")
    assert a["error"]["code"] == "DatapathDown" and "systemctl" in a["error"]["message"], a
    v.keeper.start()
    v.wait_connected()
    as_before()


@test("both end in an orderly way")
def _():
    house().stop()
    wait_for("every process to end, vnicd-libvirt too", lambda: not hoststate.processes())


main()
