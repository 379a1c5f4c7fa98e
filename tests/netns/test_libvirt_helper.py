#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd-libvirt against a real libvirtd: api/libvirt-helper.md, one statement a test."""
import json
import os
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from datapath import Datapath  # noqa: E402
from guest import Attached  # noqa: E402
from hosted import agent_of, guest_domain  # noqa: E402
from libvirtd import Libvirtd, domain, ports, vhostuser  # noqa: E402
from vt import main, test, wait_for  # noqa: E402

PROGRAM = "/usr/libexec/vnicd/vnicd-libvirt"
MAC = "52:54:00:00:01:%02x"
SOCKETS = ["a", "typo", "x", "x2", "x3", "os", "os2"]
virt = Libvirtd()
helper = None
datapath = None


def sock(name):
    """A socket of class gold that the datapath listens on."""
    assert name in SOCKETS
    return f"/run/vnicd/sock/gold/{name}.sock"


class Helper:
    def __init__(self):
        self.s, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = theirs.fileno()
        self.proc = subprocess.Popen([PROGRAM], close_fds=False, stdin=subprocess.DEVNULL,
                                     preexec_fn=lambda: os.dup2(fd, 3, inheritable=True))
        theirs.close()
        self.id = 0

    def raw(self, data, timeout=60.0):
        self.s.settimeout(timeout)
        self.s.send(data)
        return json.loads(self.s.recv(1 << 17))

    def __call__(self, op, **fields):
        self.id += 1
        r = self.raw(json.dumps({"id": self.id, "op": op, **fields}).encode())
        assert r["id"] == self.id, r
        return r

    def good(self, op, **fields):
        r = self(op, **fields)
        assert r.get("ok") is True, r
        return r

    def bad(self, code, op, **fields):
        r = self(op, **fields)
        assert r.get("error", {}).get("code") == code, r
        return r["error"]["message"]

    def close(self):
        self.s.close()
        return self.proc.wait(10)


@test("helper: without descriptor 3 it says what it is and ends with 2")
def no_fd():
    p = subprocess.run([PROGRAM], capture_output=True, text=True, timeout=10, check=False)
    assert p.returncode == 2 and "descriptor 3" in p.stderr, p


@test("helper: libvirtd not running is said, and found once it is")
def no_libvirtd():
    global helper, datapath
    os.makedirs("/run/vnicd/sock/gold")
    datapath = Datapath([{"name": n, "socket": sock(n), "mac": f"52:54:00:00:02:{i:02x}", "queues": "2"}
                         for i, n in enumerate(SOCKETS)]).start()
    helper = Helper()
    helper.good("ping")
    m = helper.bad("LibvirtFailed", "domains")
    assert "qemu:///system" in m and "systemctl start libvirtd" in m, m
    # The hooks have a scenario of their own; here is no vnicd to answer them.
    for kind in ("qemu", "network"):
        os.unlink(f"/etc/libvirt/hooks/{kind}.d/vnicd")
    virt.start()
    assert helper.good("domains") == {"id": helper.id, "ok": True, "domains": [], "more": False}


@test("helper: a bad message is answered with its id, or 0")
def bad_message():
    r = helper.raw(b"nonsense")
    assert r["id"] == 0 and r["error"]["code"] == "InvalidMessage", r
    r = helper.raw(b'{"id":77,"op":"shutdown"}')
    assert r["id"] == 77 and "shutdown" in r["error"]["message"], r
    helper.good("ping")


@test("helper: a domain that libvirt does not know")
def unknown_domain():
    for who in ("nobody", "6ecd5f50-1712-4b9b-ba6c-dd77b83b4ab5", "../x", "a'b"):
        for op, more in (("domain-xml", {}), ("check", {"classes": []}), ("detach", {"mac": MAC % 1}),
                         ("attach", {"mac": MAC % 1, "socket": sock("a")})):
            helper.bad("UnknownDomain", op, domain=who, **more)


@test("helper: check tells what is wrong in a domain that is not running")
def check():
    virt.define(domain("wrong", vhostuser(MAC % 1, "/run/vnicd/sock/brass/w.sock", reconnect=None), shared=False,
                       metadata=ports({"mac": MAC % 9, "vlan": "4"})))
    r = helper.good("check", domain="wrong", classes=["gold"])
    codes = [f["code"] for f in r["findings"]]
    assert codes == ["NoSharedMemory", "UnknownClass", "NoReconnect", "UnmatchedOverride"], r
    assert r["active"] is False and r["name"] == "wrong" and r["shared_memory"] is False, r
    assert r["findings"][0]["fix"].startswith("<memoryBacking>"), r
    assert "known: gold" in r["findings"][1]["message"], r
    assert r["overrides"] == [{"mac": MAC % 9, "vlan": "4"}], r
    virt.virsh("undefine", "wrong")
    virt.define(domain("right", vhostuser(MAC % 1, "/run/vnicd/sock/gold/w.sock")))
    assert helper.good("check", domain="right", classes=["gold"])["findings"] == []
    virt.virsh("undefine", "right")


@test("helper: an unreadable override is a clear error of check")
def check_bad_override():
    virt.define(domain("typo", vhostuser(MAC % 1, sock("typo")), metadata=ports({"mac": MAC % 1, "vlna": "4"})))
    m = helper.bad("InvalidXml", "check", domain="typo", classes=["gold"])
    assert "'vlna'" in m, m
    virt.virsh("start", "--paused", "typo")
    d = helper.good("domains")["domains"]
    assert len(d) == 1 and "'vlna'" in d[0]["error"] and d[0]["name"] == "typo", d
    virt.virsh("destroy", "typo")
    virt.virsh("undefine", "typo")


@test("helper: domain-xml, of the running and of the persistent definition")
def domain_xml():
    virt.define(domain("x", vhostuser(MAC % 1, sock("x"))))
    virt.virsh("start", "--paused", "x")
    uuid = virt.virsh("domuuid", "x").strip()
    live = helper.good("domain-xml", domain=uuid)
    assert live["name"] == "x" and live["uuid"] == uuid and "<alias name='net0'/>" in live["xml"], live
    assert "<alias name=" not in helper.good("domain-xml", domain="x", inactive=True)["xml"]


@test("helper: domains lists the running ones with vnicd's interfaces")
def domains():
    d = helper.good("domains")["domains"]
    assert [x["name"] for x in d] == ["x"], d
    x = d[0]
    assert x["interfaces"] == [{"mac": MAC % 1, "type": "vhostuser", "socket": sock("x"), "mode": "client",
                                "reconnect": True, "model": "virtio", "queues": 1, "teaming": None,
                                "alias": None}], x
    assert x["pidfile"] == "/run/libvirt/qemu/x.pid" and os.path.exists(x["pidfile"]), x
    assert x["shared_memory"] is True and x["id"] > 0 and x["overrides"] == [], x


@test("helper: attach adds the interface to the running and the persistent domain")
def attach():
    r = helper.good("attach", domain="x", mac=MAC % 2, socket=sock("x2"), queues=2, config=True)
    assert r["alias"] == "net1", r
    for flags in ([], ["--inactive"]):
        xml = virt.virsh("dumpxml", *flags, "x")
        assert sock("x2") in xml and MAC % 2 in xml and "queues='2'" in xml, xml
    d = helper.good("domains")["domains"]
    assert [i["mac"] for i in d[0]["interfaces"]] == [MAC % 1, MAC % 2], d


@test("helper: attach refuses a MAC that the domain has, and private memory")
def attach_refused():
    before = virt.virsh("dumpxml", "x")
    assert MAC % 2 in helper.bad("DuplicateMac", "attach", domain="x", mac=MAC % 2, socket=sock("x3"))
    assert virt.virsh("dumpxml", "x") == before
    virt.define(domain("private", shared=False))
    virt.virsh("start", "--paused", "private")
    m = helper.bad("InvalidXml", "attach", domain="private", mac=MAC % 1, socket=sock("x3"))
    assert "<access mode='shared'/>" in m, m
    virt.virsh("destroy", "private")
    virt.virsh("undefine", "private")


@test("helper: attach and detach of a domain that is off, in its persistent definition only")
def config_only():
    virt.define(domain("off"))
    assert "not running" in helper.bad("LibvirtFailed", "attach", domain="off", mac=MAC % 1, socket=sock("x3"))
    helper.good("attach", domain="off", mac=MAC % 1, socket=sock("x3"), live=False, config=True)
    assert sock("x3") in virt.virsh("dumpxml", "off")
    helper.bad("UnknownPort", "detach", domain="off", mac=MAC % 7, live=False, config=True)
    helper.good("detach", domain="off", mac=MAC % 1, live=False, config=True)
    assert "vhostuser" not in virt.virsh("dumpxml", "off")
    dev = "/run/vnicd/vdpa/gold/x3"
    helper.good("attach", domain="off", mac=MAC % 1, dev=dev, queues=2, live=False, config=True)
    xml = virt.virsh("dumpxml", "off")
    assert f"<source dev='{dev}'/>" in xml and "queues='2'" in xml and "type='vdpa'" in xml, xml
    helper.good("detach", domain="off", mac=MAC % 1, live=False, config=True)
    assert "vdpa" not in virt.virsh("dumpxml", "off")
    virt.virsh("undefine", "off")


@test("helper: detach from a guest that does not answer is a Timeout, and the NIC stays")
def detach_mute():
    # Paused before any operating system ran: nobody there to give it up.
    m = helper.bad("Timeout", "detach", domain="x", mac=MAC % 1, timeout_ms=7000)
    assert "did not give up" in m and MAC % 1 in m, m
    assert MAC % 1 in virt.virsh("dumpxml", "x")
    helper.good("ping")
    virt.virsh("destroy", "x")
    virt.virsh("undefine", "x")


@test("helper: detach from a running guest waits for the guest's word")
def detach():
    virt.define(guest_domain("os", vhostuser(MAC % 1, sock("os"))))
    virt.virsh("start", "os")
    guest = Attached("os", agent_of("os")).wait()
    helper.good("attach", domain="os", mac=MAC % 2, socket=sock("os2"))
    wait_for("the guest's second NIC", lambda: MAC % 2 in guest.sh("cat /sys/class/net/*/address"))
    r = helper.good("detach", domain="os", mac=MAC % 2, timeout_ms=30000)
    assert r["outcome"] == "removed", r
    assert MAC % 2 not in virt.virsh("dumpxml", "os")
    assert MAC % 2 not in guest.sh("cat /sys/class/net/*/address")
    helper.bad("UnknownPort", "detach", domain="os", mac=MAC % 2)
    guest.kill()
    virt.virsh("destroy", "os")
    virt.virsh("undefine", "os")


ALIASED = "<teaming type='persistent'/><alias name='ua-%s'/>"
NO_VF = "0000:ff:1f.7"


def hostdev(address, alias, standby):
    bus, slot, function = address[5:7], address[8:10], address[11]
    return (f"<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0x0000' bus='0x{bus}' "
            f"slot='0x{slot}' function='0x{function}'/></source><teaming type='transient' persistent='{standby}'/>"
            f"<alias name='{alias}'/></hostdev>")


@test("helper: the VF's XML and its standby's are by libvirt's schema")
def vf_schema():
    xml = domain("pair", vhostuser(MAC % 1, sock("x"), extra=ALIASED % "web"),
                 devices=hostdev(NO_VF, "ua-vnic-web", "ua-web"))
    with open("/run/pair.xml", "w", encoding="utf-8") as f:
        f.write(xml)
    virt.virsh("define", "--validate", "/run/pair.xml")
    kept = virt.virsh("dumpxml", "pair")
    assert "<teaming type='transient' persistent='ua-web'/>" in kept and "name='ua-vnic-web'" in kept, kept
    virt.virsh("undefine", "pair")


@test("helper: attach-hostdev wants a running domain with a standby, and tells what to write")
def vf_standby():
    virt.define(domain("x", vhostuser(MAC % 1, sock("x")), vhostuser(MAC % 2, sock("x2"), extra=ALIASED % "b"),
                       vhostuser(MAC % 3, sock("x3"), extra="<alias name='ua-c'/>")))
    uuid = virt.virsh("domuuid", "x").strip()
    ask = {"domain": uuid, "address": NO_VF}
    assert "does not run" in helper.bad("UnknownDomain", "attach-hostdev", standby="ua-b", **ask)
    virt.virsh("start", "--paused", "x")
    for alias in ("ua-a", "ua-c"):
        m = helper.bad("InvalidXml", "attach-hostdev", standby=alias, **ask)
        assert f"<alias name='{alias}'/>" in m and "<teaming type='persistent'/>" in m, m


@test("helper: attach-hostdev of a device that is not there is libvirt's error, and changes nothing")
def vf_absent():
    uuid = virt.virsh("domuuid", "x").strip()
    before = virt.virsh("dumpxml", "x")
    m = helper.bad("LibvirtFailed", "attach-hostdev", domain=uuid, address=NO_VF, standby="ua-b")
    assert m.startswith(f"plugging VF {NO_VF} into domain 'x': libvirt says: "), m
    assert virt.virsh("dumpxml", "x") == before


@test("helper: detach-hostdev of what is not there is done, also where the domain is off or unknown")
def vf_gone():
    uuid = virt.virsh("domuuid", "x").strip()
    assert helper.good("detach-hostdev", domain=uuid, address=NO_VF)["outcome"] == "removed"
    virt.virsh("destroy", "x")
    assert helper.good("detach-hostdev", domain=uuid, address=NO_VF)["outcome"] == "removed"
    virt.virsh("undefine", "x")
    assert helper.good("detach-hostdev", domain=uuid, address=NO_VF)["outcome"] == "removed"


def event():
    helper.s.settimeout(20)
    return json.loads(helper.s.recv(1 << 17))


@test("helper: devices lists nothing where no domain has one, whatever its metadata, and changes are told once")
def devices():
    none = {"domains": [], "more": False}
    ask = lambda: {k: v for k, v in helper.good("devices").items() if k in none}  # noqa: E731
    assert (got := ask()) == none, got
    virt.define(domain("dev", metadata=ports({"mac": MAC % 1, "vlna": "4"})))
    virt.virsh("start", "--paused", "dev")
    assert event() == {"event": "devices"}
    # Not told again before it was asked again.
    virt.virsh("destroy", "dev")
    virt.virsh("start", "--paused", "dev")
    helper.good("ping")
    assert (got := ask()) == none, got
    # Of which class a VF is may change while it is in use.
    virt.virsh("metadata", "dev", "--uri", "urn:vnicd:1", "--key", "vnic", "--live", "--set",
               f"<ports><port mac='{MAC % 1}' class='gold'/></ports>")
    assert event() == {"event": "devices"}
    assert (got := ask()) == none, got
    virt.virsh("destroy", "dev")
    assert event() == {"event": "devices"}
    virt.virsh("undefine", "dev")
    ask()
    virt.stop()
    assert event() == {"event": "devices"}
    helper.bad("LibvirtFailed", "devices")
    virt.start()
    assert (got := ask()) == none, got
    # A helper that starts anew has seen nothing meanwhile.
    virt.proc.send_signal(signal.SIGSTOP)
    try:
        helper.bad("Timeout", "domains", timeout_ms=500)
        assert event() == {"event": "devices"}
    finally:
        virt.proc.send_signal(signal.SIGCONT)
    helper.good("ping")


@test("helper: more domains than a message holds come page by page")
def pages():
    names = [f"p{i}" for i in range(5)]
    for n, name in enumerate(names):
        over = ports(*({"mac": f"52:54:00:01:{n:02x}:{i:02x}", "vlan": "1234", "rate": "1234567890kbit",
                        "paths": "sriov,vdpa,vmdq,software"} for i in range(200)))
        virt.define(domain(name, metadata=over))
        virt.virsh("start", "--paused", name)
    seen, after, n = [], {}, 0
    while True:
        r = helper.good("domains", **after)
        n += 1
        seen += r["domains"]
        if not r["more"]:
            break
        after = {"after": r["domains"][-1]["uuid"]}
    assert n > 1, "it all fitted into one message"
    assert sorted(d["name"] for d in seen) == names, seen
    assert [d["uuid"] for d in seen] == sorted(d["uuid"] for d in seen)
    assert all(len(d["overrides"]) == 200 for d in seen)
    for name in names:
        virt.virsh("destroy", name)
        virt.virsh("undefine", name)


@test("helper: an answer that no message holds is LimitReached")
def too_large():
    blob = "".join(f"<b{i}>{'x' * 1000}</b{i}>" for i in range(80))
    virt.define(domain("blob", metadata=f"<a:a xmlns:a='urn:a'>{blob}</a:a>"))
    helper.bad("LimitReached", "domain-xml", domain="blob")
    virt.virsh("undefine", "blob")


@test("helper: libvirtd restarted, in order or by kill -9, is found again")
def restarts():
    pid = helper.proc.pid
    for end in (virt.stop, virt.kill):
        end()
        helper.bad("LibvirtFailed", "domains")
        virt.start()
        helper.good("domains")
    assert helper.proc.poll() is None and helper.proc.pid == pid


@test("helper: libvirtd stopped is a Timeout, later requests are kept, and it recovers")
def hung():
    helper.good("domains")
    virt.proc.send_signal(signal.SIGSTOP)
    try:
        helper.id += 2
        first, second = helper.id - 1, helper.id
        for i, op in ((first, "domains"), (second, "ping")):
            helper.s.send(json.dumps({"id": i, "op": op, "timeout_ms": 500}).encode())
        a, b = (json.loads(helper.s.recv(1 << 17)) for _ in range(2))
        assert a["id"] == first and a["error"]["code"] == "Timeout", a
        assert "libvirtd stopped or hung" in a["error"]["message"], a
        assert b == {"id": second, "ok": True}, b
        # A new connection hangs too.
        helper.bad("Timeout", "domains", timeout_ms=500)
    finally:
        virt.proc.send_signal(signal.SIGCONT)
    helper.good("domains")
    assert helper.proc.poll() is None
    fds = os.listdir(f"/proc/{helper.proc.pid}/fd")
    assert len(fds) < 16, fds


@test("helper: it ends when vnicd closes its end, also in the middle of a request")
def closed():
    assert helper.close() == 0
    h = Helper()
    virt.proc.send_signal(signal.SIGSTOP)
    try:
        h.s.send(b'{"id":1,"op":"domains","timeout_ms":60000}')
        wait_for("the request to be under way",
                 lambda: any(os.readlink(f"/proc/{h.proc.pid}/fd/{f}").startswith("socket")
                             for f in os.listdir(f"/proc/{h.proc.pid}/fd") if int(f) > 3))
        assert h.close() == 0
    finally:
        virt.proc.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    main()
