#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt's hook under a real libvirtd: what it asks vnicd, and what becomes of a guest where vnicd says
no, is down, dies or hangs. vnicd is played by this script, so that it can do all that to the letter."""
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from libvirtd import Libvirtd, domain, ports, vhostuser  # noqa: E402
from vhostfake import VhostFake  # noqa: E402
from vt import main, run, table, test, wait_for  # noqa: E402

HOOKS = "/etc/libvirt/hooks"
QEMU, NETWORK = f"{HOOKS}/qemu.d/vnicd", f"{HOOKS}/network.d/vnicd"
SOCK = "/run/vnicd/hook.sock"
GOLD = "/run/vnicd/sock/gold"
MAC = "52:54:00:00:02:%02x"
UUID = "6ecd5f50-1712-4b9b-ba6c-dd77b83b4ab5"
virt = Libvirtd()
backend = None


class Vnicd:
    """The daemon's end of api/hook.md. answers: what it says to an operation; None to hang, "die" to
    close the connection, and end if it is to be gone for the next one as well."""

    def __init__(self, **answers):
        self.answers = answers
        self.requests = []
        self.hung_up = 0
        self._open = []
        self._s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.path.lexists(SOCK):
            os.unlink(SOCK)
        os.makedirs(os.path.dirname(SOCK), exist_ok=True)
        self._s.bind(SOCK)
        os.chmod(SOCK, 0o600)
        self._s.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                c = self._s.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c):
        r = json.loads(c.recv(65536))
        self.requests.append(r)
        say = self.answers.get(r["op"].replace("-", "_"), {"ok": True, "ports": []})
        if say is None:
            self._open.append(c)
            if c.recv(10) == b"":
                self.hung_up += 1
            return
        if say != "die":
            c.send(json.dumps(say).encode())
        if say == "die" or self.answers.get("end") == r["op"]:
            self.end()
        c.close()

    def ops(self):
        return [r["op"] for r in self.requests]

    def end(self):
        """As kill -9 leaves it: the socket's file stays."""
        self._s.shutdown(socket.SHUT_RDWR)
        self._s.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        try:
            self.end()
        except OSError:
            pass


def no_vnicd():
    if os.path.lexists(SOCK):
        os.unlink(SOCK)


def setup():
    global backend
    if backend is None:
        # A witness before and after ours: what libvirt calls, and what it gave.
        for kind in ("qemu", "network"):
            with open(f"{HOOKS}/{kind}.d/a-witness", "w", encoding="ascii") as f:
                f.write(f'#!/bin/sh\necho "{kind} $*" >>/run/witness\n[ "$2" != restore ] || exec cat\ncat >/dev/null\n')
            os.chmod(f"{HOOKS}/{kind}.d/a-witness", 0o755)
        backend = VhostFake(f"{GOLD}/web.sock")
        virt.start()
        virt.define(domain("web", vhostuser(MAC % 1, f"{GOLD}/web.sock"), uuid=UUID,
                           metadata=ports({"mac": MAC % 1, "vlan": "12", "rate": "2gbit"})))
        virt.define(domain("plain"))


def witness():
    """What libvirt called since the last look."""
    try:
        with open("/run/witness", encoding="utf-8") as f:
            lines = f.read().splitlines()
        os.unlink("/run/witness")
    except FileNotFoundError:
        return []
    return lines


def start_fails(*words, name="web"):
    t = time.monotonic()
    p = virt.virsh("start", "--paused", name, check=False)
    took = time.monotonic() - t
    assert p.returncode != 0, "it started"
    for w in words:
        assert w in p.stderr, f"'{w}' is not in: {p.stderr}"
    assert virt.state(name) == "shut off", virt.state(name)
    assert not os.path.exists(f"/run/libvirt/qemu/{name}.pid"), "its QEMU was started"
    return took


def hook(program, op, xml, name="web", timeout=40.0, stdin=None):
    """Run the hook as libvirt does; (status, stdout, stderr)."""
    p = subprocess.run([program, name, op, "begin", "-"], input=None if stdin else xml, stdin=stdin,
                       capture_output=True, text=True, timeout=timeout, env={"LC_ALL": "C"}, check=False)
    return p.returncode, p.stdout, p.stderr


WEB = domain("web", vhostuser(MAC % 1, f"{GOLD}/web.sock"), uuid=UUID)
HOOKDATA = f"""<hookData><network><name>vfs</name></network><networkport><owner><name>web</name><uuid>{UUID}</uuid>
</owner><mac address='{MAC % 5}'/><plug type='hostdev-pci' managed='yes'><address domain='0x0000' bus='0x06'
slot='0x10' function='0x1'/></plug></networkport></hookData>"""


@test("hook: installed as real files in libvirt's own folders")
def installed():
    for f in (QEMU, NETWORK):
        s = os.lstat(f)
        assert stat.S_ISREG(s.st_mode) and s.st_mode & 0o777 == 0o755, oct(s.st_mode)
    assert "systemd" not in run("ldd", QEMU), "it loads libsystemd"


@test("hook: prepare, start, started, stopped and release reach vnicd, with the domain's facts")
def life():
    setup()
    with Vnicd() as v:
        virt.virsh("start", "--paused", "web")
        assert v.ops() == ["prepare", "start", "started"], v.ops()
        assert virt.state("web") == "paused"
        virt.virsh("destroy", "web")
        assert v.ops() == ["prepare", "start", "started", "stopped", "release"], v.ops()
        for r in v.requests:
            assert r["version"] == 1 and r["domain"] == {
                "uuid": UUID, "name": "web", "shared_memory": True, "pidfile": "/run/libvirt/qemu/web.pid"}, r
            assert r["interfaces"] == [{"mac": MAC % 1, "type": "vhostuser", "socket": f"{GOLD}/web.sock",
                                        "mode": "client", "reconnect": True, "model": "virtio", "queues": 1,
                                        "teaming": None}], r
            assert r["overrides"] == [{"mac": MAC % 1, "vlan": "12", "rate": "2gbit"}], r


@test("hook: what vnicd refuses is in virsh's message, and the guest does not start")
def refused():
    setup()
    no = {"error": {"code": "UnknownClass", "message": "there is no class 'gold'; known: silver"}}
    for op in ("prepare", "start"):
        with Vnicd(**{op: no}) as v:
            start_fails("vnicd: there is no class 'gold'; known: silver")
            # libvirt tells those that it has asked; what prepare made is given back.
            assert v.ops()[-1] == "release", v.ops()
    with Vnicd(started=no):
        p = virt.virsh("start", "--paused", "web", check=False)
        assert p.returncode != 0 and "there is no class 'gold'" in p.stderr, p
        assert virt.state("web") == "shut off"


@test("hook: vnicd not running: virsh start fails at once and says how to start it")
def down():
    setup()
    no_vnicd()
    took = start_fails("vnicd is not running", "systemctl start vnicd")
    assert took < 20, f"{took:.1f} s"


@test("hook: vnicd killed, its socket's file left: the same")
def killed():
    setup()
    Vnicd().end()
    assert os.path.exists(SOCK)
    start_fails("vnicd is not running", "systemctl start vnicd")


@test("hook: vnicd dies while prepare waits: virsh start fails and says so")
def dies():
    setup()
    with Vnicd(prepare="die"):
        start_fails("vnicd went away before it answered 'prepare'")


@test("hook: an answer that is none fails the start")
def nonsense():
    setup()
    with Vnicd(prepare=["ok"]):
        start_fails("vnicd's answer is not understood")


@test("hook: vnicd hung: virsh start fails at the deadline and says so; others start meanwhile")
def hung():
    setup()
    with Vnicd(prepare=None) as v:
        out = []
        t = threading.Thread(target=lambda: out.append(start_fails("vnicd did not answer 'prepare' within 20 s",
                                                                  "stopped, hung or overloaded")))
        t.start()
        wait_for("the hook's request", lambda: v.ops() == ["prepare"])
        virt.virsh("start", "--paused", "plain", timeout=15)
        virt.virsh("destroy", "plain", timeout=15)
        t.join(60)
        assert out, "virsh start gave no error of ours"
        assert 19 < out[0] < 40, f"{out[0]:.1f} s"
        # The hook hung up, by which vnicd knows that it must undo.
        wait_for("the hook to hang up", lambda: v.hung_up >= 1)


@test("hook: a domain without an interface of vnicd's lives its life with vnicd down")
def not_ours():
    setup()
    no_vnicd()
    witness()
    virt.virsh("start", "--paused", "plain")
    virt.virsh("destroy", "plain")
    called = [line.split()[2] for line in witness()]
    assert called == ["prepare", "start", "started", "stopped", "release"], called
    with Vnicd() as v:
        virt.virsh("start", "--paused", "plain")
        virt.virsh("destroy", "plain")
        assert v.ops() == [], v.ops()


@test("hook: a guest starts to its end although vnicd dies behind start, and ends with vnicd down or hung")
def dies_later():
    setup()
    with Vnicd(end="start") as v:
        virt.virsh("start", "--paused", "web")
        assert v.ops() == ["prepare", "start"], v.ops()
    assert virt.state("web") == "paused"
    virt.virsh("destroy", "web")
    with Vnicd(stopped=None, release=None) as v:
        virt.virsh("start", "--paused", "web")
        virt.virsh("destroy", "web", timeout=40)
        assert v.ops()[-2:] == ["stopped", "release"], v.ops()
    assert virt.state("web") == "shut off"


@test("hook: reconnect never harms a running guest: vnicd up, refusing, dying, down, hung")
def reconnect():
    setup()
    no = {"error": {"code": "UnknownPort", "message": "never seen"}}
    with Vnicd():
        virt.virsh("start", "--paused", "web")
    pid = virt.pid("web")
    for answers in ({}, {"reconnect": no}, {"reconnect": "die"}, None, {"reconnect": None}):
        no_vnicd()
        v = Vnicd(**answers) if answers is not None else None
        witness()
        virt.kill()
        virt.start()
        wait_for("libvirtd to know its guest again", lambda: virt.state("web") == "paused", timeout=20)
        if v:
            wait_for("reconnect at vnicd", lambda: "reconnect" in v.ops(), timeout=20)
            v.__exit__()
        wait_for("the hook", lambda: any(" web reconnect " in w for w in witness()) or v, timeout=10)
        # Not a moment later either.
        virt.virsh("dominfo", "web")
        assert virt.state("web") == "paused" and virt.pid("web") == pid
        os.kill(pid, 0)
    with Vnicd():
        virt.virsh("destroy", "web")


@test("hook: restore asks vnicd, leaves the XML as it is, and a refusal stops it")
def restore():
    setup()
    with Vnicd() as v:
        virt.virsh("start", "--paused", "web")
        virt.virsh("save", "web", "/run/web.save", timeout=60)
        assert virt.state("web") == "shut off"
        v.requests.clear()
        v.answers["restore"] = {"error": {"code": "Busy", "message": "the house is full"}}
        p = virt.virsh("restore", "--paused", "/run/web.save", check=False)
        assert p.returncode != 0 and "vnicd: the house is full" in p.stderr, p
        del v.answers["restore"]
        virt.virsh("restore", "--paused", "/run/web.save", timeout=60)
        assert virt.state("web") == "paused"
        assert v.ops() == ["restore", "restore", "prepare", "start", "started"], v.ops()
        assert f"path='{GOLD}/web.sock'" in virt.virsh("dumpxml", "web")
        virt.virsh("destroy", "web")


@test("hook: migrate and restore write nothing to standard output, which leaves the XML as it is")
def silent():
    with Vnicd() as v:
        for op in ("migrate", "restore", "prepare", "reconnect"):
            assert hook(QEMU, op, WEB) == (0, "", ""), op
        assert v.ops() == ["migrate", "restore", "prepare", "reconnect"]
    no_vnicd()
    status, out, err = hook(QEMU, "migrate", WEB)
    assert status == 1 and out == "" and "vnicd is not running" in err, (status, out, err)


@test("hook: a socket meant for vnicd but spelt otherwise is refused, without asking vnicd")
def misspelt():
    no_vnicd()
    for path in ("/var/run/vnicd/sock/gold/web.sock", "//run/vnicd/sock/gold/web.sock", "/run/vnicd/web.sock"):
        status, out, err = hook(QEMU, "prepare", domain("web", vhostuser(MAC % 1, path)))
        assert status == 1 and out == "" and path in err and "/run/vnicd/sock/CLASS/NAME.sock" in err, err


@test("hook: bad XML fails prepare and is forgiven where a failure would harm")
def bad_xml():
    bad = {"<!DOCTYPE x [<!ENTITY a 'b'>]><domain/>": "DOCTYPE", "": "no element found", "<domain>": "no element"}
    for xml, word in bad.items():
        for op, want in (("prepare", 1), ("migrate", 1), ("reconnect", 0), ("stopped", 0), ("release", 0)):
            status, out, err = hook(QEMU, op, xml)
            assert status == want and out == "" and word in err, (op, xml, status, out, err)


@test("hook: standard input that never ends is left, long before the deadline")
def endless():
    with open("/dev/zero", "rb") as zero:
        status, out, err = hook(QEMU, "prepare", None, stdin=zero)
    assert status == 1 and out == "" and "larger than 4 MiB" in err, err
    r, w = os.pipe()
    with os.fdopen(r) as mute, os.fdopen(w):
        status, out, err = hook(QEMU, "prepare", None, stdin=mute, timeout=15)
    assert status == 1 and out == "" and "neither goes on nor ends" in err, err


@test("hook: operations that are none of its business, and no operation")
def others():
    no_vnicd()
    for op in ("attach", "started-later", ""):
        assert hook(QEMU, op, WEB) == (0, "", ""), op
    for op in ("start", "started", "stopped", "updated"):
        assert hook(NETWORK, op, HOOKDATA) == (0, "", ""), op
    p = subprocess.run([QEMU], capture_output=True, text=True, timeout=10, check=False)
    assert p.returncode == 2 and "vnicd-hook(8)" in p.stderr, p


@test("hook: release without prepare, and prepare twice, are vnicd's to judge: each is passed on")
def odd_order():
    with Vnicd() as v:
        for op in ("release", "prepare", "prepare", "migrate", "migrate", "stopped"):
            assert hook(QEMU, op, WEB)[0] == 0
        assert v.ops() == ["release", "prepare", "prepare", "migrate", "migrate", "stopped"], v.ops()


@test("hook: network ports with a PCI device are told to vnicd, which may refuse them")
def network_port():
    with Vnicd() as v:
        assert hook(NETWORK, "port-created", HOOKDATA, name="vfs") == (0, "", "")
        assert hook(NETWORK, "port-deleted", HOOKDATA, name="vfs") == (0, "", "")
        a, b = v.requests
        assert (a["op"], b["op"]) == ("port-created", "port-deleted")
        assert a["network"] == "vfs" and a["domain"]["uuid"] == UUID, a
        assert a["interfaces"] == [{"mac": MAC % 5, "type": "hostdev", "address": "0000:06:10.1"}], a
    no = {"error": {"code": "Busy", "message": "0000:06:10.1 is a port's"}}
    with Vnicd(port_created=no, port_deleted=no):
        assert hook(NETWORK, "port-created", HOOKDATA)[0] == 1
        assert hook(NETWORK, "port-deleted", HOOKDATA)[0] == 0
    no_vnicd()
    status, out, err = hook(NETWORK, "port-created", HOOKDATA)
    assert status == 0 and out == "" and "vnicd is not running" in err, "libvirt's own device needs no vnicd"


@test("hook: a libvirt network of no concern comes up and takes ports with vnicd down")
def network():
    setup()
    no_vnicd()
    with open("/run/net.xml", "w", encoding="ascii") as f:
        f.write("<network><name>lan</name><bridge name='vt-lan' stp='off'/></network>")
    witness()
    virt.virsh("net-create", "/run/net.xml")
    virt.define(domain("netted", "<interface type='network'><source network='lan'/><model type='virtio'/></interface>"))
    virt.virsh("start", "--paused", "netted")
    called = [w.split()[2] for w in witness() if w.startswith("network lan")]
    assert called == ["start", "started", "port-created"], called
    virt.virsh("destroy", "netted")
    virt.virsh("undefine", "netted")
    virt.virsh("net-destroy", "lan")


@test("hook: the table of its inputs has a row for each of these that is a bad input")
def rows():
    from vt import _tests
    names = {n for n, _ in _tests}
    listed = {r["test"] for r in table("hook-inputs") if r["kind"] == "scenario"}
    assert listed and listed <= names, listed - names
    bad = {n for n, f in _tests if f in (refused, down, killed, dies, nonsense, hung, dies_later, reconnect, restore,
                                         misspelt, bad_xml, endless, others, odd_order, network_port)}
    assert bad == listed, bad ^ listed


if __name__ == "__main__":
    main()
