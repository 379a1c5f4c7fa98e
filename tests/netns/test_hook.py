#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt's hook under a real libvirtd with the real vnicd: what becomes of a guest where vnicd says no, is
down, dies or hangs. What vnicd never says, a stand-in says to the hook alone."""
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from daemon import CONF  # noqa: E402
from hosted import Host, mac_of, socket_of  # noqa: E402
from libvirtd import domain, ports, vdpa, vhostuser  # noqa: E402
from vt import main, run, table, test, wait_for  # noqa: E402

HOOKS = "/etc/libvirt/hooks"
QEMU, NETWORK = f"{HOOKS}/qemu.d/vnicd", f"{HOOKS}/network.d/vnicd"
SOCK = "/run/vnicd/hook.sock"
UUID = "6ecd5f50-1712-4b9b-ba6c-dd77b83b4ab5"
WEB = domain("web", vhostuser(mac_of(1), socket_of("gold", "web")), uuid=UUID,
             metadata=ports({"mac": mac_of(1), "vlan": "12"}))
HOOKDATA = f"""<hookData><network><name>vfs</name></network><networkport><owner><name>web</name><uuid>{UUID}</uuid>
</owner><mac address='{mac_of(5)}'/><plug type='hostdev-pci' managed='yes'><address domain='0x0000' bus='0x06'
slot='0x10' function='0x1'/></plug></networkport></hookData>"""
NO = {"error": {"code": "Busy", "message": "the house is full"}}
host = None


class StandIn:
    """Sits on hook.sock in vnicd's place. say: what it answers; None to hang, "die" to hang up."""

    def __init__(self, say=None):
        self.say = say if say is not None else {"ok": True, "ports": []}
        self.requests, self.hung_up = [], 0
        os.makedirs(os.path.dirname(SOCK), exist_ok=True)
        no_socket()
        self._s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._s.bind(SOCK)
        self._s.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                c = self._s.accept()[0]
            except OSError:
                return
            with c:
                self.requests.append(json.loads(c.recv(65536)))
                if self.say == "hang":
                    self.hung_up += c.recv(10) == b""
                elif self.say != "die":
                    c.send(self.say if isinstance(self.say, bytes) else json.dumps(self.say).encode())

    def ops(self):
        return [r["op"] for r in self.requests]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._s.shutdown(socket.SHUT_RDWR)
        self._s.close()
        no_socket()


def no_socket():
    if os.path.lexists(SOCK):
        os.unlink(SOCK)


def script(name, text, kind="qemu"):
    """Another hook beside ours; libvirt runs them in the order of their names."""
    path = f"{HOOKS}/{kind}.d/{name}"
    with open(path, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


def setup():
    """The host with two domains: web, which has a NIC of vnicd's, and plain, which has none."""
    global host
    if host is None:
        # A witness: what libvirt calls. It runs before ours, which must not spoil what it says of the XML.
        for kind in ("qemu", "network"):
            script("a-witness", f'echo "{kind} $*" >>/run/witness\n'
                   '[ "$2" = restore ] && exec cat\nexec cat >/dev/null\n', kind)
        host = Host().start()
        host.vnicd.wait_connected()
        host.libvirt.define(WEB)
        host.libvirt.define(domain("plain"))
    if not host.vnicd.daemon.running():
        host.vnicd.daemon.start()
        host.vnicd.wait_connected()
    if host.libvirt.state("web") != "shut off":  # a test failed half-way
        host.libvirt.virsh("destroy", "web")
    return host.libvirt, host.vnicd


def witness():
    """What libvirt called since the last look, as (kind, object, operation)."""
    try:
        with open("/run/witness", encoding="utf-8") as f:
            lines = f.read().splitlines()
        os.unlink("/run/witness")
    except FileNotFoundError:
        return []
    return [tuple(line.split()[:3]) for line in lines]


def start_fails(*words):
    """virsh start of web must fail with these words, and leave nothing; returns how long it took."""
    virt = host.libvirt
    t = time.monotonic()
    p = virt.virsh("start", "--paused", "web", check=False)
    took = time.monotonic() - t
    assert p.returncode != 0, "it started"
    for w in words:
        assert w in p.stderr, f"'{w}' is not in: {p.stderr}"
    assert virt.state("web") == "shut off", virt.state("web")
    assert not os.path.exists("/run/libvirt/qemu/web.pid"), "its QEMU was started"
    return took


def start():
    host.libvirt.virsh("start", "--paused", "web")
    return host.vnicd.wait_port(mac_of(1), "connected")


def destroy():
    host.libvirt.virsh("destroy", "web", timeout=40)
    host.vnicd.wait_port(mac_of(1), None, timeout=30)


def hook(program, op, xml, name="web", timeout=40.0, stdin=None):
    """Run the hook as libvirt does; (status, stdout, stderr)."""
    p = subprocess.run([program, name, op, "begin", "-"], input=None if stdin else xml, stdin=stdin,
                       capture_output=True, text=True, timeout=timeout, env={"LC_ALL": "C"}, check=False)
    return p.returncode, p.stdout, p.stderr


@test("hook: installed as real files in libvirt's own folders")
def installed():
    for f in (QEMU, NETWORK):
        s = os.lstat(f)
        assert stat.S_ISREG(s.st_mode) and s.st_mode & 0o777 == 0o755, oct(s.st_mode)
    assert "systemd" not in run("ldd", QEMU, check=False).stdout, "it loads libsystemd"


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


@test("hook: a socket meant for vnicd but spelt otherwise is refused, without asking vnicd")
def misspelt():
    no_socket()
    for path in ("/var/run/vnicd/sock/gold/web.sock", "//run/vnicd/sock/gold/web.sock", "/run/vnicd/web.sock"):
        status, out, err = hook(QEMU, "prepare", domain("web", vhostuser(mac_of(1), path)))
        assert status == 1 and out == "" and path in err and "/run/vnicd/sock/CLASS/NAME.sock" in err, err


@test("hook: what domain check calls an error is refused without asking vnicd, except where the guest runs")
def checked():
    good = vhostuser(mac_of(1), socket_of("gold", "web"))
    rows = [
        (domain("web", vhostuser(mac_of(1), socket_of("gold", "web"), reconnect=None)),
         ("interface 1 (52:54:00:00:00:01)", "no <reconnect>", "<reconnect enabled='yes' timeout='1'/>")),
        (domain("web", vhostuser(mac_of(1), socket_of("gold", "web"), mode="server")), ("mode='client'",)),
        (domain("web", good, shared=False), ("not shared", "<access mode='shared'/>")),
        (domain("web", good, good), ("interface 2", "give it another", "(and 1 more)", "vnicctl domain check web")),
    ]
    with StandIn() as v:
        for xml, words in rows:
            for op in ("prepare", "migrate", "restore"):
                status, out, err = hook(QEMU, op, xml)
                assert status == 1 and out == "" and len(err.splitlines()) == 1, (op, err)
                assert err.startswith("vnicd: ") and all(w in err for w in words), (words, err)
            assert v.requests == []
            # What runs, runs: vnicd is to know of it.
            assert hook(QEMU, "reconnect", xml) == (0, "", "")
            assert v.ops() == ["reconnect"]
            v.requests.clear()


@test("hook: operations that are none of its business, and no operation")
def others():
    no_socket()
    for op in ("attach", "started-later", ""):
        assert hook(QEMU, op, WEB) == (0, "", ""), op
    for op in ("start", "started", "stopped", "updated"):
        assert hook(NETWORK, op, HOOKDATA) == (0, "", ""), op
    p = subprocess.run([QEMU], capture_output=True, text=True, timeout=10, check=False)
    assert p.returncode == 2 and "vnicd-hook(8)" in p.stderr, p


@test("hook: what each operation makes of an error, a hang-up, nonsense and no vnicd")
def outcomes():
    #            error, hang-up, nonsense, not there
    want = {"prepare": (1, 1, 1, 1), "start": (1, 1, 1, 1), "migrate": (1, 1, 1, 1), "restore": (1, 1, 1, 1),
            "started": (1, 0, 0, 0), "stopped": (0, 0, 0, 0), "release": (0, 0, 0, 0), "reconnect": (0, 0, 0, 0)}
    nets = {"port-created": (1, 0, 0, 0), "port-deleted": (0, 0, 0, 0)}
    words = ("vnicd: the house is full", "vnicd went away before it answered", "answer is not understood",
             "vnicd is not running")
    for program, xml, ops in ((QEMU, WEB, want), (NETWORK, HOOKDATA, nets)):
        for n, say in enumerate((NO, "die", b"[]", None)):
            stand_in = StandIn(say) if say is not None else None
            for op, statuses in ops.items():
                status, out, err = hook(program, op, xml)
                assert status == statuses[n] and out == "" and words[n] in err, (op, say, status, out, err)
            if stand_in:
                # Who hangs up may be on the way to a restart: its successor is asked once more.
                asked = [o for o, st in ops.items() for _ in range(2 if say == "die" and st[1] else 1)]
                assert stand_in.ops() == asked, stand_in.ops()
                stand_in.__exit__()


@test("hook: standard output stays empty, which tells libvirt to leave the XML as it is")
def silent():
    with StandIn() as v:
        ops = ["prepare", "start", "started", "stopped", "release", "migrate", "restore", "reconnect"]
        for op in ops:
            assert hook(QEMU, op, WEB) == (0, "", ""), op
        assert v.ops() == ops


@test("hook: a hook that is killed hangs up, by which vnicd knows that it must undo")
def hangs_up():
    with StandIn("hang") as v:
        p = subprocess.Popen([QEMU, "web", "prepare", "begin", "-"], stdin=subprocess.PIPE, text=True)
        p.stdin.write(WEB)
        p.stdin.close()
        wait_for("its request", lambda: v.ops() == ["prepare"])
        p.kill()
        p.wait(10)
        wait_for("it to hang up", lambda: v.hung_up == 1)


@test("hook: network ports with a PCI device are told to vnicd, others are not")
def network_port():
    with StandIn() as v:
        for op in ("port-created", "port-deleted"):
            assert hook(NETWORK, op, HOOKDATA, name="vfs") == (0, "", "")
        assert v.ops() == ["port-created", "port-deleted"]
        for r in v.requests:
            assert r["network"] == "vfs" and r["domain"]["uuid"] == UUID, r
            assert r["interfaces"] == [{"mac": mac_of(5), "type": "hostdev", "address": "0000:06:10.1"}], r
        bridged = HOOKDATA.replace("hostdev-pci", "bridge").split("<address")[0] + "</plug></networkport></hookData>"
        assert hook(NETWORK, "port-created", bridged, name="lan") == (0, "", "")
        assert len(v.requests) == 2, v.requests


@test("hook: a guest's start makes its port with what the metadata say, its end gives it back")
def life():
    virt, vnicd = setup()
    witness()
    p = start()
    assert p["domain"] == "web" and p["uuid"] == UUID and p["vlan"] == 12, p
    assert p["peer_pid"] == virt.pid("web"), p
    virt.virsh("destroy", "web")
    # The hook waits for vnicd, and libvirt for the hook: nothing is left when virsh returns.
    assert vnicd.ports() == {} and not os.path.exists(socket_of("gold", "web"))
    assert witness() == [("qemu", "web", op) for op in ("prepare", "start", "started", "stopped", "release")]


@test("hook: what vnicd refuses is in virsh's message, and the guest does not start")
def refused():
    virt, vnicd = setup()
    good = vhostuser(mac_of(2), socket_of("gold", "no"))
    rows = [
        (domain("no", vhostuser(mac_of(2), socket_of("platinum", "no"))), "platinum"),
        (domain("no", good, shared=False), "<access mode='shared'/>"),
        (domain("no", vhostuser(mac_of(2), socket_of("gold", "no"), reconnect=None)), "<reconnect enabled='yes'"),
        (domain("no", good, metadata=ports({"mac": mac_of(2), "vlan": "13"})), "13"),
        (domain("no", good, metadata=ports({"mac": mac_of(3), "vlan": "12"})), mac_of(3)),
        (domain("no", good, metadata=ports({"mac": mac_of(2), "vlna": "12"})), "'vlna'"),
        (domain("no", good, vhostuser(mac_of(2), socket_of("gold", "no2"))), mac_of(2)),
        (domain("no", good, vhostuser(mac_of(3), socket_of("gold", "no"))), "gold/no.sock"),
        (domain("no", vhostuser(mac_of(2), "/run/vnicd/sock/gold/x/no.sock")), "/run/vnicd/sock/CLASS/NAME.sock"),
        (domain("no", good, metadata=ports({"mac": mac_of(2), "vlan": "12", "paths": "sriov"})), "sriov"),
        (domain("no", vhostuser(mac_of(2), "/var/run/vnicd/sock/gold/no.sock")), "/run/vnicd/sock/CLASS/NAME.sock"),
        (domain("no", vdpa(mac_of(2), "/run/vnicd/vdpa/platinum/no"), shared=False), "platinum"),
        (domain("no", vdpa(mac_of(2), "/run/vnicd/vdpa/gold/x/no"), shared=False), "/run/vnicd/vdpa/CLASS/NAME"),
        (domain("no", vdpa(mac_of(2), "/run/vnicd/vdpa/gold/no"), shared=False), "name vdpa in paths= of [class gold]"),
        (domain("no", vdpa(mac_of(2), "/run/vnicd/vdpa/gold/no"), shared=False,
                metadata=ports({"mac": mac_of(2), "paths": "vdpa"})), "segment lan has no nic"),
    ]
    for xml, word in rows:
        virt.define(xml)
        # The same is said beforehand.
        status, said = vnicd.ctl("domain", "check", "no", check=False)
        assert status == 1 and word in json.dumps(said, ensure_ascii=False), (word, status, said)
        p = virt.virsh("start", "--paused", "no", check=False)
        assert p.returncode != 0 and "vnicd: " in p.stderr and word in p.stderr, (word, p.stderr)
        assert virt.state("no") == "shut off" and vnicd.ports() == {}, word
        virt.virsh("undefine", "no")


@test("hook: an interface that is no standby is said to be none, and carried in software where it may be")
def no_standby():
    virt, vnicd = setup()
    lines = "<alias name='ua-team'/><teaming type='persistent'/>"
    both = ports({"mac": mac_of(2), "vlan": "12", "paths": "sriov,software"})

    def findings(extra, code="NoStandby", metadata=both):
        virt.define(domain("team", vhostuser(mac_of(2), socket_of("gold", "team"), extra=extra), metadata=metadata,
                           uuid="6ecd5f50-1712-4b9b-ba6c-dd77b83b4ab7"))
        status, said = vnicd.ctl("domain", "check", "team", check=False)
        return status, [f for f in said["findings"] if f["code"] == code]

    for extra in ("", "<teaming type='persistent'/>", "<alias name='ua-team'/>"):
        status, found = findings(extra)
        assert status == 0 and len(found) == 1 and found[0]["severity"] == "warning", (extra, status, found)
        assert found[0]["fix"].replace("\n", "") == lines and found[0]["mac"] == mac_of(2), found
        status, found = findings(extra, metadata=both.replace("sriov,software", "sriov"))
        assert status == 1 and [f["severity"] for f in found] == ["error"], (extra, status, found)
    findings("")
    virt.virsh("start", "--paused", "team")
    virt.virsh("destroy", "team")
    assert findings("", metadata=both.replace("sriov,", "")) == (0, [])
    assert findings(lines) == (0, [])
    # What it would get now, and why nothing better: this segment has no nic.
    status, found = findings(lines, "Path")
    assert (status, [f["severity"] for f in found]) == (0, ["info"]) and found[0]["mac"] == mac_of(2), found
    assert "on path software, not sriov: segment lan has no nic" in found[0]["message"], found
    assert findings(lines, "Path", both.replace("sriov,", "")) == (0, [])
    assert findings(lines)[0] == 0
    virt.virsh("start", "--paused", "team")
    assert vnicd.ports()[mac_of(2)]["path"] == "software"
    virt.virsh("destroy", "team")
    virt.virsh("undefine", "team")


@test("hook: a MAC or socket that another guest's port has is refused, and that port lives on")
def taken():
    virt, vnicd = setup()
    start()
    for mac, name in ((mac_of(1), "other"), (mac_of(2), "web")):
        virt.define(domain("twin", vhostuser(mac, socket_of("gold", name)),
                           metadata=ports({"mac": mac, "vlan": "12"})))
        p = virt.virsh("start", "--paused", "twin", check=False)
        assert p.returncode != 0 and "vnicd: " in p.stderr, p
        virt.virsh("undefine", "twin")
        assert list(vnicd.ports()) == [mac_of(1)] and vnicd.ports()[mac_of(1)]["state"] == "connected"
    destroy()


@test("hook: release without prepare and prepare twice do no harm")
def odd_order():
    _, vnicd = setup()
    assert hook(QEMU, "release", WEB)[0] == 0 and hook(QEMU, "stopped", WEB)[0] == 0
    assert vnicd.ports() == {}
    for _ in range(2):
        assert hook(QEMU, "prepare", WEB) == (0, "", "")
        assert hook(QEMU, "migrate", WEB) == (0, "", "")
    assert list(vnicd.ports()) == [mac_of(1)]
    for _ in range(2):
        assert hook(QEMU, "release", WEB)[0] == 0
    vnicd.wait_port(mac_of(1), None)


@test("hook: vnicd stopped: virsh start fails after 5 s and says how to start it")
def down():
    _, vnicd = setup()
    vnicd.daemon.stop()
    took = start_fails("vnicd is not running", "systemctl start vnicd")
    assert took < 15, f"{took:.1f} s"


@test("hook: vnicd killed, its socket's file left: the same")
def killed():
    _, vnicd = setup()
    vnicd.daemon.kill()
    assert os.path.exists(SOCK)
    start_fails("vnicd is not running", "systemctl start vnicd")


def starting():
    """virsh start of web in a thread, which waits for vnicd: (thread, list with the outcome)."""
    out = []
    t = threading.Thread(target=lambda: out.append(host.libvirt.virsh("start", "--paused", "web", check=False)))
    t.start()
    wait_for("the hook to wait", lambda: run("pgrep", "-f", "^/etc/libvirt/hooks/qemu.d/vnicd", check=False).stdout)
    return t, out


@test("hook: vnicd restarted before and during prepare, or killed and restarted: virsh start sees nothing of it")
def restarted():
    virt, vnicd = setup()
    for how in ("away", "stop", "kill"):
        if how == "away":
            vnicd.daemon.stop()
        else:  # prepare waits for the datapath
            vnicd.keeper.proc.send_signal(signal.SIGSTOP)
        try:
            t, out = starting()
            if how != "away":
                wait_for("vnicd to work on it", lambda: mac_of(1) in vnicd.ports())
                (vnicd.daemon.stop if how == "stop" else vnicd.daemon.kill)()
            time.sleep(1)
        finally:
            if how != "away":
                vnicd.keeper.proc.send_signal(signal.SIGCONT)
        vnicd.daemon.start()
        t.join(60)
        assert out and out[0].returncode == 0, (how, out)
        p = vnicd.wait_port(mac_of(1), "connected")
        assert p["peer_pid"] == virt.pid("web"), (how, p)
        destroy()


@test("hook: vnicd dies while prepare waits: virsh start fails and says so")
def dies():
    virt, vnicd = setup()
    vnicd.daemon.proc.send_signal(signal.SIGSTOP)
    out = []
    t = threading.Thread(target=lambda: out.append(start_fails("vnicd went away before it answered 'prepare'")))
    t.start()
    wait_for("the hook to wait", lambda: run("pgrep", "-f", "^/etc/libvirt/hooks/qemu.d/vnicd", check=False).stdout)
    time.sleep(0.5)
    vnicd.daemon.kill()
    t.join(60)
    assert out, "virsh start gave no error of ours"


@test("hook: vnicd hung: virsh start fails at the deadline and says so; others start meanwhile")
def hung():
    virt, vnicd = setup()
    vnicd.daemon.proc.send_signal(signal.SIGSTOP)
    try:
        out = []
        t = threading.Thread(target=lambda: out.append(
            start_fails("vnicd did not answer 'prepare' within 20 s", "stopped, hung or overloaded")))
        t.start()
        time.sleep(0.5)
        virt.virsh("start", "--paused", "plain", timeout=15)
        virt.virsh("destroy", "plain", timeout=15)
        t.join(60)
    finally:
        vnicd.daemon.proc.send_signal(signal.SIGCONT)
    assert out, "virsh start gave no error of ours"
    assert 19 < out[0] < 40, f"{out[0]:.1f} s"
    # vnicd finds the request of a hook that has hung up: what it makes of it, it undoes.
    vnicd.wait_port(mac_of(1), None, timeout=30)
    start()
    destroy()


@test("hook: a domain without an interface of vnicd's lives its life with vnicd down")
def not_ours():
    virt, vnicd = setup()
    vnicd.daemon.stop()
    witness()
    virt.virsh("start", "--paused", "plain")
    virt.virsh("destroy", "plain")
    assert witness() == [("qemu", "plain", op) for op in ("prepare", "start", "started", "stopped", "release")]


@test("hook: a guest starts to its end although vnicd dies behind start, and ends with vnicd down or hung")
def dies_later():
    virt, vnicd = setup()
    killer = script("z-killer", f'[ "$2" = start ] && kill -9 {vnicd.daemon.pid}\nexec cat >/dev/null\n')
    virt.virsh("start", "--paused", "web")
    os.unlink(killer)
    assert not vnicd.daemon.running()
    assert virt.state("web") == "paused"
    vnicd.daemon.start()
    assert vnicd.wait_port(mac_of(1), "connected")["peer_pid"] == virt.pid("web")
    destroy()
    start()
    vnicd.daemon.stop()
    virt.virsh("destroy", "web")
    vnicd.daemon.start()
    # It learns of the guest's end by the pidfile.
    vnicd.wait_port(mac_of(1), None, timeout=30)
    start()
    vnicd.daemon.proc.send_signal(signal.SIGSTOP)
    try:
        virt.virsh("destroy", "web", timeout=40)
        assert virt.state("web") == "shut off"
    finally:
        vnicd.daemon.proc.send_signal(signal.SIGCONT)
    vnicd.wait_port(mac_of(1), None, timeout=30)


@test("hook: reconnect never harms a running guest: vnicd up, down, hung")
def reconnect():
    virt, vnicd = setup()
    start()
    pid = virt.pid("web")
    for state in ("up", "down", "hung"):
        if state == "down":
            vnicd.daemon.stop()
        elif state == "hung":
            vnicd.daemon.start()
            vnicd.daemon.proc.send_signal(signal.SIGSTOP)
        witness()
        virt.kill()
        virt.start()
        called = []
        wait_for("the hook to be called", lambda: called.extend(witness()) or ("qemu", "web", "reconnect") in called,
                 timeout=20)
        # Answered once the hook is through: libvirt looks at its guest under a lock.
        assert virt.state("web") == "paused", state
        assert virt.virsh("dominfo", "web") and virt.pid("web") == pid, state
        os.kill(pid, 0)
        if state == "hung":
            vnicd.daemon.proc.send_signal(signal.SIGCONT)
    assert vnicd.wait_port(mac_of(1), "connected")["peer_pid"] == pid
    destroy()


@test("hook: restore asks vnicd, leaves the XML as it is, and a refusal stops it")
def restore():
    virt, vnicd = setup()
    start()
    virt.virsh("save", "web", "/run/web.save", timeout=60)
    vnicd.wait_port(mac_of(1), None)
    vnicd.configure(CONF.replace("[class gold]", "[class silver]"))
    vnicd.daemon.stop()
    setup()
    p = virt.virsh("restore", "--paused", "/run/web.save", check=False)
    assert p.returncode != 0 and "vnicd: " in p.stderr and "gold" in p.stderr, p
    vnicd.configure(CONF)
    vnicd.daemon.stop()
    setup()
    witness()
    virt.virsh("restore", "--paused", "/run/web.save", timeout=60)
    assert [op for _, _, op in witness()] == ["restore", "prepare", "start", "started"]
    assert virt.state("web") == "paused"
    xml = virt.virsh("dumpxml", "web")
    assert f"path='{socket_of('gold', 'web')}'" in xml and 'vlan="12"' in xml, xml
    destroy()


@test("hook: a libvirt network of no concern comes up and takes ports with vnicd down")
def network():
    virt, vnicd = setup()
    vnicd.daemon.stop()
    with open("/run/net.xml", "w", encoding="ascii") as f:
        f.write("<network><name>lan</name><bridge name='vt-lan' stp='off'/></network>")
    witness()
    virt.virsh("net-create", "/run/net.xml")
    virt.define(domain("netted", "<interface type='network'><source network='lan'/></interface>"))
    virt.virsh("start", "--paused", "netted")
    assert [op for kind, _, op in witness() if kind == "network"] == ["start", "started", "port-created"]
    virt.virsh("destroy", "netted")
    virt.virsh("undefine", "netted")
    virt.virsh("net-destroy", "lan")


@test("hook: all ends in an orderly way, and no port is left")
def orderly():
    _, vnicd = setup()
    assert vnicd.ports() == {}
    host.shutdown()


@test("hook: the table of its inputs has a row for each of these that is a bad input")
def rows():
    from vt import _tests
    good = {installed, silent, life, not_ours, network, orderly, rows}
    bad = {n for n, f in _tests if f not in good}
    listed = {r["test"] for r in table("hook-inputs") if r["kind"] == "scenario"}
    assert bad == listed, bad ^ listed


if __name__ == "__main__":
    main()
