#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""daemon/exec's steps and daemon/sys's view of the kernel, against the kernel of a sandbox."""
import json
import os
import queue
import signal
import socket
import stat
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hoststate import difference, snapshot  # noqa: E402
from net import Bridge, ip, links  # noqa: E402
from vt import TOP, Skip, main, run, test, wait_for  # noqa: E402

TOOL = os.path.join(os.environ.get("VNIC_BUILD") or os.path.join(TOP, "build/check"), "tests/unit/systool")
SOCK_DIR = "/run/vnicd-test-sock"
MAC = "52:54:00:00:00:01"
KEY = "11111111-2222-3333-4444-555555555555/" + MAC


class Tool:
    """systool in one of its modes; its lines are read by a thread, so that none blocks it."""

    def __init__(self, *args):
        self.p = subprocess.Popen([TOOL, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.p.stdout:
            self.lines.put(json.loads(line))

    def next(self, timeout=10):
        return self.lines.get(timeout=timeout)

    def ask(self, command):
        self.p.stdin.write(command + "\n")
        self.p.stdin.flush()
        return self.next()

    def until(self, what, fn):
        """Read events until one makes fn true; return it."""
        while True:
            try:
                e = self.next()
            except queue.Empty:
                raise AssertionError(f"no event in 10 s: {what}") from None
            if fn(e):
                return e

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.send_signal(signal.SIGCONT)
        self.p.kill()
        self.p.wait()


class Exec(Tool):
    def __init__(self):
        super().__init__("exec", SOCK_DIR)

    def step(self, verb, kind, error="", **fields):
        a = self.ask(" ".join([verb, kind, *(f"{k.rstrip('_')}={v}" for k, v in fields.items())]))
        assert a["error"] == error, f"{verb} {kind} {fields}: {a}, expected '{error}'"
        return a

    def tap(self, name="vn0-lan", segment="lan"):
        return self.step("do", "tap-create", ifname=name, name=segment)["ifindex"]


def state():
    """Everything of the host that steps may change."""
    return {**snapshot(run_dir=SOCK_DIR, with_processes=False), "vlans": run("bridge", "vlan", "show")}


def same(before):
    diff = difference(before, state())
    assert not diff, "\n".join(diff)


def index(name):
    return links()[name]["ifindex"]


def clean():
    """The next test starts with nothing of the last."""
    for name in links():
        if name != "lo" and name in links():
            ip("link", "del", name)
    run("rm", "-rf", SOCK_DIR)


def scenario(name):
    def register(fn):
        def wrapped():
            try:
                fn()
            finally:
                clean()
        return test(name)(wrapped)
    return register


@scenario("tap is made once, by name of its segment, and persists")
def tap_create():
    with Exec() as x:
        before = state()
        i = x.tap()
        tap = links()["vn0-lan"]
        assert tap["ifindex"] == i and tap["ifalias"] == "vnicd segment lan", tap
        data = tap["linkinfo"]["info_data"]
        assert data["type"] == "tap" and not data["pi"] and data["vnet_hdr"] and data["persist"], data
        with open("/proc/sys/net/ipv6/conf/vn0-lan/disable_ipv6", encoding="ascii") as f:
            assert f.read().strip() == "1"
        assert x.ask("tap-fd vn0-lan")["r"] >= 0
        assert x.tap() == i
        x.ask("tap-drop vn0-lan")
        assert x.ask("tap-fd vn0-lan")["error"] == "ENOENT"
        # Nobody has it open now: it is still there, and opened again.
        assert x.tap() == i and x.ask("tap-fd vn0-lan")["r"] >= 0
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan", ifindex=i)
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan", ifindex=i)
        same(before)


@scenario("tap of a killed daemon is found again, by name or by ifindex")
def tap_again():
    with Exec() as x:
        i = x.tap()
    with Exec() as x:
        assert x.tap() == i
        # Begun, and killed before its ifindex was recorded.
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan")
        assert "vn0-lan" not in links()


@scenario("tap that the datapath holds is left to it")
def tap_busy():
    with Exec() as keeper, Exec() as x:
        i = keeper.tap()
        assert x.tap() == i
        assert x.ask("tap-fd vn0-lan")["error"] == "ENOENT"


@scenario("tap deleted by somebody is made anew")
def tap_deleted():
    with Exec() as x:
        i = x.tap()
        ip("link", "del", "vn0-lan")
        j = x.tap()
        assert j != i and links()["vn0-lan"]["ifindex"] == j


@scenario("tap renamed by somebody is still ours by ifindex")
def tap_renamed():
    with Exec() as x:
        i = x.tap()
        ip("link", "set", "vn0-lan", "name", "other")
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan", ifindex=i)
        assert "other" not in links()


@scenario("tap whose alias was changed by somebody is still ours by ifindex and MAC")
def tap_alias_changed():
    with Exec() as x:
        Bridge("br0")
        before = state()
        i = x.tap()
        mac, br = links()["vn0-lan"]["address"], index("br0")
        assert mac.startswith("fe:ff:"), mac
        x.step("do", "link-master", ifindex=i, master=br)
        x.step("do", "fdb", ifindex=i, mac=MAC)
        ip("link", "set", "vn0-lan", "alias", "mine")
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        assert fdb() == []
        x.step("do", "fdb", ifindex=i, mac=MAC)
        # Without a record of it, or with that of another, it is a stranger.
        for known in ({}, {"ifindex": i}, {"ifindex": i + 1, "mac": mac}, {"ifindex": i, "mac": "fe:ff:00:00:00:01"}):
            x.step("do", "tap-create", "EEXIST", ifname="vn0-lan", name="lan", **known)
            assert links()["vn0-lan"]["ifalias"] == "mine"
        x.step("undo", "tap-create", "ESTALE", ifname="vn0-lan", name="lan", ifindex=i, mac="fe:ff:00:00:00:01")
        assert x.step("do", "tap-create", ifname="vn0-lan", name="lan", ifindex=i, mac=mac)["ifindex"] == i
        assert links()["vn0-lan"]["ifalias"] == "vnicd segment lan"
        ip("link", "set", "vn0-lan", "alias", "mine")
        x.step("undo", "link-master", ifindex=i, master=br, prev=0)
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan", ifindex=i, mac=mac)
        same(before)


@scenario("foreign interface of the tap's name is never touched")
def tap_foreign():
    with Exec() as x:
        for kind in (("type", "bridge"), ("type", "veth", "peer", "name", "v1")):
            ip("link", "add", "vn0-lan", *kind)
            before = state()
            a = x.step("do", "tap-create", "EEXIST", ifname="vn0-lan", name="lan")
            assert "did not make" in a["message"] and "rename" in a["message"], a
            x.step("undo", "tap-create", ifname="vn0-lan", name="lan")
            a = x.step("undo", "tap-create", "ESTALE", ifname="vn0-lan", name="lan", ifindex=index("vn0-lan"))
            assert "vn0-lan" in a["message"]
            same(before)
            ip("link", "del", "vn0-lan")
        run("ip", "tuntap", "add", "dev", "vn0-lan", "mode", "tap")
        x.step("do", "tap-create", "EEXIST", ifname="vn0-lan", name="lan")
        ip("link", "set", "vn0-lan", "alias", "vnicd segment other")
        x.step("do", "tap-create", "EEXIST", ifname="vn0-lan", name="lan")
        assert "vn0-lan" in links()


@scenario("tap with a name that the kernel would change is refused")
def tap_bad_name():
    with Exec() as x:
        for name in ("tap%d", "a/b", "0123456789abcdef"):
            x.step("do", "tap-create", "EINVAL", ifname=name, name="lan")
        assert set(links()) == {"lo"}


def value_step(kind, wanted, before, show):
    """Probe, do, do again, undo, undo again: show() follows."""
    with Exec() as x:
        br = Bridge("br0")
        i = x.tap()
        fields = {"ifindex": i, "name": "lan"}
        if kind == "link-master":
            fields["master"] = index("br0")
        if kind == "link-mtu":
            fields["mtu"] = wanted
        assert show() == before
        host = state()
        prev = x.step("probe", kind, **fields)["prev"]
        # Begun and killed before it acted.
        x.step("undo", kind, prev=prev, **fields)
        same(host)
        for _ in range(2):
            x.step("do", kind, **fields)
            assert show() == wanted, show()
        for _ in range(2):
            x.step("undo", kind, prev=prev, **fields)
            assert show() == before, show()
        # Never begun: without a previous value there is nothing to undo.
        x.step("do", kind, **fields)
        x.step("undo", kind, **fields)
        assert show() == wanted
        return br


@scenario("link-master: done, repeated, undone, repeated")
def master():
    value_step("link-master", "br0", None, lambda: links()["vn0-lan"].get("master"))


@scenario("link-mtu: done, repeated, undone, repeated")
def mtu():
    value_step("link-mtu", 9000, 1500, lambda: links()["vn0-lan"]["mtu"])


@scenario("link-up: done, repeated, undone, repeated")
def up():
    value_step("link-up", True, False, lambda: "UP" in links()["vn0-lan"]["flags"])


@scenario("what somebody else set since is theirs")
def changed_since():
    with Exec() as x:
        Bridge("br0")
        Bridge("br1")
        i = x.tap()
        x.step("do", "link-mtu", ifindex=i, mtu=9000)
        ip("link", "set", "vn0-lan", "mtu", "4000")
        x.step("undo", "link-mtu", ifindex=i, mtu=9000, prev=1500)
        assert links()["vn0-lan"]["mtu"] == 4000
        x.step("do", "link-master", ifindex=i, master=index("br0"))
        ip("link", "set", "vn0-lan", "master", "br1")
        x.step("undo", "link-master", ifindex=i, master=index("br0"), prev=0)
        assert links()["vn0-lan"]["master"] == "br1"


@scenario("a bridge keeps its MAC, whatever ports it has")
def bridge_mac():
    with Exec() as x:
        # Taps' MACs are invented: a lot of bridges, with and without another port, so that luck shows.
        for n in range(8):
            ip("link", "add", f"br{n}", "type", "bridge")
            mac = links()[f"br{n}"]["address"]
            if n % 2:
                ip("link", "add", f"v{n}", "type", "veth", "peer", "name", f"w{n}")
                ip("link", "set", f"v{n}", "master", f"br{n}")
                mac = links()[f"v{n}"]["address"]
            i = x.tap(f"vn0-{n}", f"s{n}")
            x.step("do", "link-master", ifindex=i, master=index(f"br{n}"))
            assert links()[f"br{n}"]["address"] == mac, links()[f"br{n}"]
            x.step("undo", "link-master", ifindex=i, master=index(f"br{n}"), prev=0)
            assert links()[f"br{n}"]["address"] == mac, links()[f"br{n}"]


@scenario("steps on links that are not our tap are refused")
def stale():
    with Exec() as x:
        Bridge("br0")
        ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        run("ip", "tuntap", "add", "dev", "t0", "mode", "tap")
        i = x.tap()
        before = state()
        for name in ("v0", "t0", "br0", "lo"):
            for kind, fields in (("link-master", {"master": index("br0")}), ("link-mtu", {"mtu": 9000}),
                                 ("link-up", {}), ("fdb", {"mac": MAC})):
                for verb in ("do",) if kind == "fdb" else ("probe", "do"):
                    a = x.step(verb, kind, "ESTALE", ifindex=index(name), **fields)
                    assert name in a["message"], a
        x.step("undo", "link-mtu", "ESTALE", ifindex=index("t0"), mtu=1500, prev=1400)
        x.step("do", "link-master", "ESTALE", ifindex=i, master=index("v0"))
        for bad in (99999, 0, -5):
            x.step("do", "link-up", "ENODEV" if bad > 0 else "EINVAL", ifindex=bad)
        x.step("do", "link-master", "ENODEV", ifindex=i, master=99999)
        # Undo of what is gone is done.
        x.step("undo", "link-mtu", ifindex=99999, mtu=9000, prev=1500)
        x.step("undo", "link-master", ifindex=99999, master=1, prev=0)
        x.step("undo", "fdb", ifindex=99999, mac=MAC)
        same(before)


@scenario("errors quote the kernel's own words")
def kernel_words():
    with Exec() as x:
        i = x.tap()
        a = x.step("do", "link-mtu", "EINVAL", ifindex=i, mtu=65536 * 2)
        assert "mtu greater than device maximum" in a["message"], a


def fdb():
    return [e for e in json.loads(run("bridge", "-j", "fdb", "show")) if e["mac"] == MAC]


@scenario("fdb: done, repeated, undone, repeated")
def fdb_step():
    with Exec() as x:
        Bridge("br0")
        i = x.tap()
        x.step("do", "fdb", "ESTALE", ifindex=i, mac=MAC)
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        x.step("do", "link-master", ifindex=i, master=index("br0"))
        before = state()
        for _ in range(2):
            x.step("do", "fdb", ifindex=i, mac=MAC)
            # A kernel with VLANs has it for each of the port's as well, though nothing filters.
            assert fdb() and all(e["ifname"] == "vn0-lan" and e["state"] == "static" and e["master"] == "br0"
                                 for e in fdb()), fdb()
        for _ in range(2):
            x.step("undo", "fdb", ifindex=i, mac=MAC)
            assert fdb() == []
            same(before)
        for mac in ("01:00:5e:00:00:01", "00:00:00:00:00:00"):
            x.step("do", "fdb", "EINVAL", ifindex=i, mac=mac)


@scenario("fdb: an entry that moved to another port is not ours to remove")
def fdb_moved():
    with Exec() as x:
        Bridge("br0")
        run("ip", "tuntap", "add", "dev", "t0", "mode", "tap")
        ip("link", "set", "t0", "master", "br0")
        i = x.tap()
        x.step("do", "link-master", ifindex=i, master=index("br0"))
        run("bridge", "fdb", "replace", MAC, "dev", "t0", "master", "static")
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        assert {e["ifname"] for e in fdb()} == {"t0"}
        x.step("do", "fdb", ifindex=i, mac=MAC)
        assert {e["ifname"] for e in fdb()} == {"vn0-lan"}


def frame_from(dev, mac):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((dev, 0))
        s.send(b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + b"\x88\xb5" + bytes(46))


@scenario("fdb: an entry of ours that a frame from elsewhere moved is undone there")
def fdb_moved_by_frame():
    with Exec() as x:
        Bridge("br0")
        ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        ip("link", "set", "v0", "master", "br0")
        for dev in ("br0", "v0", "v1"):
            ip("link", "set", dev, "up")
        i = x.tap()
        x.step("do", "link-master", ifindex=i, master=index("br0"))
        wait_for("the veth to forward", lambda: "forwarding" in run("bridge", "link", "show", "dev", "v0"))
        before = state()
        x.step("do", "fdb", ifindex=i, mac=MAC)
        frame_from("v1", MAC)
        wait_for("the entry to move", lambda: "v0" in {e["ifname"] for e in fdb()})
        assert {e["state"] for e in fdb()} == {"static"}, fdb()
        for _ in range(2):
            x.step("undo", "fdb", ifindex=i, mac=MAC)
            assert fdb() == [], fdb()
            same(before)
        # What the bridge learned there is not ours, nor is what ages.
        frame_from("v1", MAC)
        wait_for("the bridge to learn", lambda: fdb())
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        assert {e["ifname"] for e in fdb()} == {"v0"}, fdb()
        # Moved, and then somebody's own.
        x.step("do", "fdb", ifindex=i, mac=MAC)
        frame_from("v1", MAC)
        wait_for("the entry to move", lambda: "v0" in {e["ifname"] for e in fdb()})
        run("bridge", "fdb", "replace", MAC, "dev", "v0", "master", "static")
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        assert {e["ifname"] for e in fdb()} == {"v0"}, fdb()


@scenario("fdb: an entry that moved to another tap of ours is another port's")
def fdb_moved_to_ours():
    with Exec() as x:
        Bridge("br0")
        i, j = x.tap(), x.tap("vn0-lan2", "lan2")
        for tap in (i, j):
            x.step("do", "link-master", ifindex=tap, master=index("br0"))
        x.step("do", "fdb", ifindex=i, mac=MAC)
        x.step("do", "fdb", ifindex=j, mac=MAC)
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        assert {e["ifname"] for e in fdb()} == {"vn0-lan2"}, fdb()
        x.step("undo", "fdb", ifindex=j, mac=MAC)
        assert fdb() == []


def vlan_bridge():
    p = run("ip", "link", "add", "br0", "type", "bridge", "vlan_filtering", "1", check=False)
    if p.returncode != 0:
        raise Skip("this kernel's bridge has no VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)")


def vlans(dev):
    return sorted(v["vlan"] for p in json.loads(run("bridge", "-j", "vlan", "show")) if p["ifname"] == dev
                  for v in p["vlans"])


@scenario("bridge-vlan: done, repeated, undone, repeated")
def bridge_vlan():
    vlan_bridge()
    with Exec() as x:
        i = x.tap()
        br = index("br0")
        x.step("do", "link-master", ifindex=i, master=br)
        before = state()
        assert x.step("probe", "bridge-vlan", ifindex=i, master=br, vlan=12)["prev"] == 0
        for _ in range(2):
            x.step("do", "bridge-vlan", ifindex=i, master=br, vlan=12)
            assert 12 in vlans("vn0-lan")
        for _ in range(2):
            x.step("undo", "bridge-vlan", ifindex=i, master=br, vlan=12, prev=0)
        same(before)
        # A VLAN that was there before stays.
        run("bridge", "vlan", "add", "vid", "20", "dev", "vn0-lan")
        assert x.step("probe", "bridge-vlan", ifindex=i, master=br, vlan=20)["prev"] == 1
        x.step("do", "bridge-vlan", ifindex=i, master=br, vlan=20)
        x.step("undo", "bridge-vlan", ifindex=i, master=br, vlan=20, prev=1)
        assert 20 in vlans("vn0-lan")


@scenario("fdb: on a bridge that filters VLANs the entry has the port's")
def fdb_vlan():
    vlan_bridge()
    with Exec() as x:
        i = x.tap()
        br = index("br0")
        x.step("do", "link-master", ifindex=i, master=br)
        x.step("do", "bridge-vlan", ifindex=i, master=br, vlan=12)
        for vlan, expect in ((12, 12), (0, 1)):
            before = state()
            x.step("do", "fdb", ifindex=i, mac=MAC, vlan=vlan)
            assert [e["vlan"] for e in fdb()] == [expect], fdb()
            x.step("undo", "fdb", ifindex=i, mac=MAC, vlan=vlan)
            same(before)


@scenario("bridge-vlan: refused outside its bridge and for VLANs that there are not")
def bridge_vlan_bad():
    with Exec() as x:
        Bridge("br0")
        Bridge("br1")
        i = x.tap()
        x.step("do", "bridge-vlan", "ESTALE", ifindex=i, vlan=12)
        x.step("do", "link-master", ifindex=i, master=index("br0"))
        x.step("do", "bridge-vlan", "ESTALE", ifindex=i, master=index("br1"), vlan=12)
        for vlan in (0, 4095):
            x.step("do", "bridge-vlan", "EINVAL", ifindex=i, master=index("br0"), vlan=vlan)
        x.step("undo", "bridge-vlan", ifindex=i, master=index("br1"), vlan=12, prev=0)


def can_connect(path, user=None):
    code = ("import os,socket,sys;os.setgroups([]);os.setgid(65534);os.setuid(65534);"
            "socket.socket(socket.AF_UNIX).connect(sys.argv[1])")
    return subprocess.run(["/usr/bin/python3", "-c", code, path], capture_output=True, check=False).returncode == 0


@scenario("sock-listen: done, repeated, undone, repeated")
def sock_listen():
    sock = {"class_": "gold", "name": "web"}
    path = f"{SOCK_DIR}/gold/web.sock"
    with Exec() as x:
        before = state()
        os.umask(0o077)
        for _ in range(2):
            x.step("do", "sock-listen", **sock)
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
            assert stat.S_IMODE(os.stat(f"{SOCK_DIR}/gold").st_mode) == 0o711
        fd = x.ask("listen-fd gold web")["r"]
        assert fd >= 0
        os.chmod("/run", 0o755)
        assert can_connect(path)
        # Its file removed: nobody could connect any more, so it is bound anew.
        os.unlink(path)
        x.step("do", "sock-listen", **sock)
        assert can_connect(path)
        x.step("do", "sock-listen", class_="gold", name="db")
        for _ in range(2):
            x.step("undo", "sock-listen", **sock)
            assert not os.path.exists(path) and os.path.exists(f"{SOCK_DIR}/gold/db.sock")
        x.step("undo", "sock-listen", class_="gold", name="db")
        same(before)
        assert x.ask("listen-fd gold web")["error"] == "ENOENT"


@scenario("sock-listen: a dead daemon's socket is replaced, the datapath's is left alone")
def sock_again():
    sock = {"class_": "gold", "name": "web"}
    path = f"{SOCK_DIR}/gold/web.sock"
    with Exec() as x:
        x.step("do", "sock-listen", **sock)
        inode = os.stat(path).st_ino
        with Exec() as y:
            y.step("do", "sock-listen", **sock)
            assert os.stat(path).st_ino == inode and y.ask("listen-fd gold web")["error"] == "ENOENT"
    assert not can_connect(path)
    with Exec() as x:
        x.step("do", "sock-listen", **sock)
        assert can_connect(path) and x.ask("listen-fd gold web")["r"] >= 0


@scenario("sock-listen: bad names, and files that are no sockets")
def sock_bad():
    with Exec() as x:
        for c, n in (("..", "web"), ("gold", ".."), ("a/b", "web"), ("gold", "a/b")):
            x.step("do", "sock-listen", "EINVAL", class_=c, name=n)
        a = x.step("do", "sock-listen", "ENAMETOOLONG", class_="c" * 60, name="n" * 60)
        assert "107" in a["message"], a
        x.step("undo", "sock-listen", class_="c" * 60, name="n" * 60)
        os.mkdir(f"{SOCK_DIR}/gold")
        with open(f"{SOCK_DIR}/gold/web.sock", "w", encoding="ascii") as f:
            f.write("mine")
        x.step("do", "sock-listen", "EEXIST", class_="gold", name="web")
        x.step("undo", "sock-listen", class_="gold", name="web")
        assert os.path.exists(f"{SOCK_DIR}/gold/web.sock")
        os.symlink("/etc", f"{SOCK_DIR}/silver")
        a = x.step("do", "sock-listen", "ENOTDIR", class_="silver", name="web")
        x.step("undo", "sock-listen", class_="silver", name="web")
        assert os.path.islink(f"{SOCK_DIR}/silver") and not os.path.exists("/etc/web.sock")


@scenario("whole plan of a segment and a port: done, undone, the host reads as before")
def whole_plan():
    with Exec() as x:
        Bridge("br0")
        before = state()
        i = x.tap()
        steps = [("link-mtu", {"mtu": 1400}), ("link-master", {"master": index("br0")}), ("link-up", {})]
        prev = []
        for kind, fields in steps:
            prev.append(x.step("probe", kind, ifindex=i, **fields)["prev"])
            x.step("do", kind, ifindex=i, **fields)
        x.step("do", "sock-listen", class_="gold", name="web")
        x.step("do", "fdb", ifindex=i, mac=MAC)
        x.step("undo", "fdb", ifindex=i, mac=MAC)
        x.step("undo", "sock-listen", class_="gold", name="web")
        for (kind, fields), p in reversed(list(zip(steps, prev))):
            x.step("undo", kind, ifindex=i, prev=p, **fields)
        x.step("undo", "tap-create", ifname="vn0-lan", name="lan", ifindex=i)
        same(before)


class Rtnl(Tool):
    """Follows links; .links is the picture that the events draw."""

    def __init__(self, rcvbuf=0):
        super().__init__("rtnl", str(rcvbuf))
        self.links, self.lost, self.synced = {}, 0, 0

    def feed(self, e):
        if e["event"] == "link":
            self.links[e["ifindex"]] = e
        elif e["event"] == "gone":
            del self.links[e["ifindex"]]
        else:
            setattr(self, e["event"], getattr(self, e["event"]) + 1)
        return True

    def until_links(self, what, fn):
        while not fn(self):
            self.until(what, self.feed)


def kernel_links():
    return {x["ifindex"]: x["ifname"] for x in links().values()}


@scenario("rtnetlink: what is there, comes, changes, is renamed and goes")
def events():
    Bridge("br0")
    with Rtnl() as t:
        t.until_links("first dump", lambda t: t.synced == 1)
        assert {i: e["name"] for i, e in t.links.items()} == kernel_links()
        assert t.links[index("br0")]["kind"] == "bridge" and t.links[1]["kind"] == "loopback"
        ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        run("ip", "tuntap", "add", "dev", "t0", "mode", "tap")
        ip("link", "set", "t0", "master", "br0", "mtu", "1400")
        t.until_links("tap in bridge", lambda t: any(
            e["name"] == "t0" and e["kind"] == "tap" and e["master"] == index("br0") and e["mtu"] == 1400
            for e in t.links.values()))
        # Leaving a bridge is told with a deletion of family AF_BRIDGE: the link is still there.
        i = index("t0")
        ip("link", "set", "t0", "nomaster")
        ip("link", "set", "t0", "name", "t1")
        t.until_links("renamed", lambda t: t.links[i]["name"] == "t1" and t.links[i]["master"] == 0)
        assert t.links[index("v0")]["kind"] == "veth" and t.links[index("v0")]["lower"] == index("v1")
        ip("link", "del", "t1")
        t.until_links("deleted", lambda t: i not in t.links)
        assert t.synced == 1 and t.lost == 0


@scenario("rtnetlink: two links that swap their names")
def swap():
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    with Rtnl() as t:
        t.until_links("first dump", lambda t: t.synced == 1)
        for a, b in (("v0", "tmp"), ("v1", "v0"), ("tmp", "v1")):
            ip("link", "set", a, "name", b)
        t.until_links("swapped", lambda t: {i: e["name"] for i, e in t.links.items()} == kernel_links())


@scenario("rtnetlink: a link that moves to another namespace is gone, and back with it")
def netns_move():
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    ip("netns", "add", "other")
    try:
        with Rtnl() as t:
            t.until_links("first dump", lambda t: t.synced == 1)
            i, j = index("v0"), index("v1")
            ip("link", "set", "v1", "netns", "other")
            t.until_links("moved", lambda t: j not in t.links)
            # v1's number means nothing here any more.
            ip("link", "set", "v0", "mtu", "1400")
            t.until_links("peer away", lambda t: t.links[i]["mtu"] == 1400 and t.links[i]["lower"] == 0)
            ip("-n", "other", "link", "set", "v1", "netns", "1")
            t.until_links("back", lambda t: any(e["name"] == "v1" for e in t.links.values()))
    finally:
        ip("netns", "del", "other")


@scenario("rtnetlink: notifications lost to a full buffer end in a resync")
def enobufs():
    Bridge("br0")
    ip("link", "add", "gone0", "type", "bridge")
    with Rtnl(1) as t:  # the kernel makes it its minimum
        t.until_links("first dump", lambda t: t.synced == 1)
        t.p.send_signal(signal.SIGSTOP)
        ip("link", "del", "gone0")
        for n in range(40):
            ip("link", "add", f"b{n}", "type", "bridge")
        for n in range(0, 40, 2):
            ip("link", "del", f"b{n}")
        t.p.send_signal(signal.SIGCONT)
        t.until_links("resync", lambda t: t.lost > 0 and t.synced > 1 and
                      {i: e["name"] for i, e in t.links.items()} == kernel_links())


@scenario("rtnetlink: dumps that changes cut into are repeated until one is whole")
def storm():
    stop = threading.Event()

    def churn():
        n = 0
        while not stop.is_set():
            n += 1
            ip("link", "add", f"c{n}", "type", "bridge")
            ip("link", "del", f"c{n}")

    for n in range(100):
        ip("link", "add", f"b{n}", "type", "bridge")
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(3):
            with Rtnl() as t:
                t.until_links("first dump", lambda t: t.synced == 1)
                assert sum(e["name"].startswith("b") for e in t.links.values()) == 100
    finally:
        stop.set()
        thread.join()


@scenario("watch: the inventory follows, and says that udevd does not run here")
def watch():
    Bridge("br0")
    with Tool("watch") as t:
        e = t.until("note", lambda e: e["event"] == "note")
        assert "udevd" in e["text"] and e["level"] == 6, e
        t.until("synced", lambda e: e["event"] == "synced")
        ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        t.until("v0", lambda e: e["event"] == "changed" and e["name"] == "v0" and e["kind"] == "veth")
        ip("link", "del", "v0")
        t.until("v0 gone", lambda e: e["event"] == "removed" and e["name"] == "v0")


@test("record that finds no room fails, and the old one stands")
def record_enospc():
    os.makedirs("/run/small")
    run("mount", "-t", "tmpfs", "-o", "size=32k", "small", "/run/small")
    try:
        with Tool("records", "/run/small/ports", "/run/small/shared") as t:
            assert t.ask(f"put {KEY} 3")["r"] == 0
            a = t.ask(f"put {KEY} 1000")
            assert a["error"] == "ENOSPC" and "No space" in a["message"], a
            assert os.listdir("/run/small/ports") == [KEY.replace("/", "-") + ".json"]
            assert t.ask("load") == {"port": KEY, "steps": 3}
            assert t.next()["r"] == 0
            assert t.ask(f"erase {KEY}")["r"] == 0 and t.ask(f"erase {KEY}")["r"] == 0
    finally:
        run("umount", "/run/small")


@test("record of a killed writer leaves the old one and no rubbish")
def record_leftover():
    with Tool("records", "/run/r-ports", "/run/r-shared") as t:
        assert t.ask(f"put {KEY} 3")["r"] == 0
        name = KEY.replace("/", "-") + ".json"
        with open(f"/run/r-ports/.{name}.tmp", "w", encoding="ascii") as f:
            f.write('{"version":1,"bo')
        assert t.ask("load")["port"] == KEY
        assert t.next()["r"] == 0
        assert os.listdir("/run/r-ports") == [name]


if __name__ == "__main__":
    main()
