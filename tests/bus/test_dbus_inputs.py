#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# time limit: 240
"""tests/tables/dbus-inputs.md: one test a row, against vnicd with its datapath. What has to be slow is: the keeper is
stopped for as long."""
import contextlib
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import hooks  # noqa: E402
from busports import UUID, UUID2, add, key, mac, path, ports, release_all, spec  # noqa: E402
from daemon import CONF, Vnicd  # noqa: E402
from net import Bridge, links  # noqa: E402
from rawbus import SYSTEM_BUS, Bus, DBusError, V  # noqa: E402
from vhost_client import Client  # noqa: E402
from vt import main, run, test, wait_for  # noqa: E402

BUS_LIMIT = "org.freedesktop.DBus.Error.LimitsExceeded"
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
HUGE = "a" * 65536
_bed = {}


def daemon():
    """Bridge, datapath and vnicd, once for all tests."""
    if not _bed:
        _bed["bridge"] = Bridge("br0")
        _bed["vnicd"] = Vnicd(CONF).start()
        _bed["vnicd"].wait_connected()
    return _bed["vnicd"]


def case(name):
    """A test that leaves no port, whatever comes of it, and the daemon that it found."""
    def register(fn):
        def whole():
            pid = daemon().daemon.pid
            try:
                fn()
            finally:
                if daemon().daemon.running():
                    release_all(Bus())
            assert daemon().daemon.pid == pid and daemon().daemon.running(), f"vnicd has ended: {said()}"
        return test(name)(whole)
    return register


@contextlib.contextmanager
def stopped(*pids):
    """These processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def slow():
    """The datapath does nothing it is asked: a port's making and its release wait, for up to 10 s."""
    return stopped(daemon().keeper.pid)


def rss_kib():
    with open(f"/proc/{daemon().daemon.pid}/status", encoding="ascii") as f:
        return next(int(s.split()[1]) for s in f if s.startswith("VmRSS"))


def said():
    """All that vnicd has said since it was started first."""
    return daemon().daemon.said(100000) + "\n"


def wait_said(words, before, timeout=15.0):
    """Until vnicd says it once more than it had in `before`."""
    wait_for(f"vnicd to say '{words}'", lambda: said().count(words) > before.count(words), timeout)


def fails(fn, *args, **kwargs):
    """The D-Bus error that fn raises."""
    try:
        r = fn(*args, **kwargs)
    except DBusError as e:
        assert len(e.message) < 1024, f"a message of {len(e.message)} characters"
        assert e.message.isprintable(), repr(e.message)
        return e
    raise AssertionError(f"it was taken: {r}")


def refused(code, *words, do=None, bus=None, n=1, **keys):
    """PortAdd of this spec fails with this code, its message holds the words, and nothing was made."""
    daemon()
    b = bus or Bus()
    before = ports(b)
    e = fails(do or add, b, n, **keys)
    assert e.code == code, f"{e} is not {code}"
    for w in words:
        assert w in e.message, f"{w!r} is not in: {e.message}"
    assert ports(b) == before
    return e


def as_user(user, group, source):
    """Python source run as another user, rawbus imported; its stdout."""
    run("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "/usr/bin/python3", "-B", "-c",
        f"import sys; sys.path.insert(0, '{os.path.dirname(os.path.abspath(__file__))}/../lib')\n{source}")


@case("unprivileged_call")
def _():
    daemon()
    as_user("nobody", "nogroup", f"""
from rawbus import *
b = Bus()
calls = [("Reload", ""), ("ListSegments", ""), ("ListClasses", ""), ("ListVdpa", ""), ("RefreshCounters", ""),
         ("PortAdd", "a{{sv}}", {{}}), ("PlanPreview", "a{{sv}}", {{}}), ("PortDel", "st", "x", 1),
         ("PortAttach", "sa{{sv}}", "x", {{}}), ("PortDetach", "ss", "x", "y"), ("DomainCheck", "s", "x"),
         ("DeviceAttach", "st", "x", 1), ("DeviceDetach", "st", "x", 1), ("AttachPreview", "sa{{sv}}", "x", {{}})]
def refused(fn, *a):
    try:
        fn(*a)
    except DBusError as e:
        assert e.name == "{DENIED}", e
    else:
        raise AssertionError(a)
for c in calls:
    refused(b.call, *c)
for c in [("ListVfs", "u", 0), ("ListVdpa", ""), ("ListMdevTypes", ""), ("Drain", ""), ("Undrain", "")]:
    refused(lambda c=c: b.call(*c, path="/org/vnicd1/nic/2", interface="org.vnicd1.Nic"))
refused(b.get_all)
refused(b.objects)
refused(b.introspect, "/org/vnicd1")
""")


@case("unprivileged_signals")
def _():
    daemon()
    b, listener = Bus(), None
    source = """
from rawbus import *
b = Bus()
b.listen()
print("listening", flush=True)
end = time.monotonic() + 1.5
while time.monotonic() < end:
    b.pump(0.1)
print(len([s for s in b.signals if (s.path or "").startswith("/org/vnicd1")]), flush=True)
"""
    lib = os.path.dirname(os.path.abspath(__file__)) + "/../lib"
    argv = ["/usr/bin/python3", "-B", "-c", f"import sys, time; sys.path.insert(0, '{lib}')\n{source}"]
    drop = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    # The same listener as root shows that there was something to hear.
    both = [subprocess.Popen(p + argv, stdout=subprocess.PIPE, text=True) for p in (drop, [])]
    for listener in both:
        assert listener.stdout.readline() == "listening\n"
    add(b)
    release_all(b)
    heard = [int(p.stdout.readline()) for p in both]
    for p in both:
        p.wait(10)
    assert heard[0] == 0 and heard[1] >= 2, heard


@case("reader_may_not_write")
def _():
    daemon()
    if run("getent", "group", "vnicd", check=False).returncode:
        run("groupadd", "-r", "vnicd")
    Bus().driver("ReloadConfig")
    add(Bus())
    as_user("nobody", "vnicd", f"""
from rawbus import *
b = Bus()
assert b.get_all()["State"] == "running"
assert len([p for p in b.objects() if "/port/" in p]) == 1
assert b.call("ListClasses")[0][0]["name"] == "gold"
b.call("RefreshCounters")
assert b.call("PlanPreview", "a{{sv}}", {{"class": V("s", "gold")}})[0] == "software"
b.listen()
for c in [("Reload", ""), ("PortAdd", "a{{sv}}", {{}}), ("PortDel", "st", "{key()}", 1), ("DomainCheck", "s", "x"),
          ("PortAttach", "sa{{sv}}", "x", {{}}), ("PortDetach", "ss", "x", "y"), ("DeviceAttach", "st", "x", 1),
          ("DeviceDetach", "st", "x", 1), ("AttachPreview", "sa{{sv}}", "x", {{}})]:
    try:
        b.call(*c)
    except DBusError as e:
        assert e.name == "{DENIED}", (c, e)
    else:
        raise AssertionError(c)
# There is no nic in here, but who may not ask does not get as far as hearing that.
for m, name in [("Drain", "{DENIED}"), ("Undrain", "{DENIED}"), ("ListVdpa", "org.freedesktop.DBus.Error.UnknownObject")]:
    try:
        b.call(m, path="/org/vnicd1/nic/2", interface="org.vnicd1.Nic")
    except DBusError as e:
        assert e.name == name, (m, e)
    else:
        raise AssertionError(m)
""")
    release_all(Bus())


@case("foreign_generation")
def _():
    daemon()
    b = Bus()
    add(b)
    seen = ports(b)[key()]["Generation"]
    release_all(b)
    add(b)
    e = fails(b.call, "PortDel", "st", key(), seen)
    assert e.code == "StaleGeneration", e
    assert list(ports(b)) == [key()]
    release_all(b)


@case("foreign_generation_zero")
def _():
    daemon()
    b = Bus()
    add(b)
    e = fails(b.call, "PortDel", "st", key(), 0)
    assert e.code == "InvalidArgument" and "generation" in e.message, e
    assert list(ports(b)) == [key()]
    release_all(b)


@case("foreign_mac")
def _():
    daemon()
    b = Bus()
    add(b)
    refused("DuplicateMac", mac(1), bus=b, uuid=UUID2, name="other")
    assert list(ports(b)) == [key()]
    release_all(b)


@case("foreign_socket")
def _():
    daemon()
    b = Bus()
    add(b, name="web")
    refused("SocketInUse", "web", bus=b, n=2, uuid=UUID2, name="web")
    assert list(ports(b)) == [key()]
    release_all(b)


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


@case("name_dots")
def _():
    for k in ("class", "name"):
        refused("InvalidArgument", k, **{k: "../../etc/x"})
        refused("InvalidArgument", k, **{k: ".."})
    refused("InvalidArgument", "domain", domain="../x")
    for p in ("/run/../etc/shadow", "../x", "/etc/x.pid", "run/x", "/run//x"):
        refused("InvalidArgument", "pidfile", pidfile=p)
    refused("InvalidArgument", "uuid", uuid="../x")
    refused("InvalidMac", "mac", mac="../x")
    b = Bus()
    assert fails(b.call, "PortDel", "st", "../../x", 1).code == "InvalidArgument"
    assert fails(b.call, "DomainCheck", "s", "../x").code == "InvalidArgument"
    assert fails(b.call, "PortDetach", "ss", "../x", mac(1)).code == "InvalidArgument"


@case("name_64k")
def _():
    for k in ("class", "name", "domain", "pidfile", "uuid", "mac"):
        refused("InvalidArgument", k, "65536", **{k: HUGE})
    refused("InvalidArgument", "key", **{HUGE: V("u", 1)})
    refused("InvalidArgument", "paths", paths=V("as", [HUGE]))
    refused("InvalidArgument", "paths", paths=V("as", ["vdpa"] * 20000))
    b = Bus()
    assert fails(b.call, "PortDel", "st", HUGE, 1).code == "InvalidArgument"
    assert fails(b.call, "DomainCheck", "s", HUGE).code == "InvalidArgument"
    assert fails(b.call, "PortAttach", "sa{sv}", HUGE, {}).code == "InvalidArgument"
    assert fails(b.call, "PortDetach", "ss", "web", HUGE).code == "InvalidArgument"


@case("name_control")
def _():
    refused("InvalidArgument", "domain", domain="web\x1b[2J")
    refused("InvalidArgument", "name", name="web\n")
    e = fails(Bus().call, "PortDel", "st", "\x1b]0;x\x07", 1)
    assert e.code == "InvalidArgument"


@case("mac_multicast")
def _():
    for m in ("01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"):
        refused("InvalidMac", m, "unicast", mac=m)


@case("mac_zero")
def _():
    refused("InvalidMac", "zero", mac="00:00:00:00:00:00")


@case("mac_malformed")
def _():
    for m in ("525400000001", "52:54:00:00:00", "52:54:00:00:00:01:02", "52:54:00:00:00:0g", "", " 52:54:00:00:00:01"):
        refused("InvalidMac", "mac", mac=m)
    e = fails(Bus().call, "PortDetach", "ss", "web", "52-54-00-00-00-01")
    assert e.code == "InvalidMac", e


@case("uuid_zero")
def _():
    refused("InvalidArgument", "uuid", uuid="00000000-0000-0000-0000-000000000000")


@case("spec_unknown_key")
def _():
    refused("InvalidArgument", "vlna", "vlan", vlna=V("q", 5))


@case("spec_duplicate_key")
def _():
    b = Bus()
    entries = list(spec().items()) + [("vlan", V("q", 12)), ("vlan", V("q", 13))]

    class Twice(dict):
        def items(self):
            return entries

    e = fails(b.call, "PortAdd", "a{sv}", Twice())
    assert e.code == "InvalidArgument" and "vlan" in e.message and "twice" in e.message, e
    assert not ports(b)


@case("spec_wrong_type")
def _():
    for k in ("uuid", "mac", "class", "name", "domain", "pidfile", "paths", "type"):
        refused("InvalidArgument", k, **{k: V("u", 5)})
    for k in ("queues", "vlan", "rate", "weight"):
        refused("InvalidArgument", k, **{k: "5"})
    refused("InvalidArgument", "vlan", vlan=V("u", 12))
    refused("InvalidArgument", "paths", paths=V("a(ss)", [("a", "b")]))


@case("spec_out_of_range")
def _():
    for v in (0, 9, 4294967295):
        refused("InvalidArgument", "queues", "between 1 and 8", queues=V("u", v))
    for v in (4095, 65535):
        refused("InvalidArgument", "vlan", "4094", vlan=V("q", v))
    for v in (0, 1001):
        refused("InvalidArgument", "weight", "between 1 and 1000", weight=V("u", v))
    for v in ("x", "software,software", ""):
        refused("InvalidArgument", "paths", paths=V("as", v.split(",")))
    refused("InvalidArgument", "paths", paths=V("as", []))
    refused("InvalidArgument", "neither vhostuser nor vdpa", type=V("s", "bridge"))


@case("spec_vlan_not_allowed")
def _():
    refused("VlanNotAllowed", "9", vlan=V("q", 9))


@case("spec_missing")
def _():
    for k in ("uuid", "mac", "class"):
        refused("InvalidArgument", k, "missing", **{k: None})


@case("spec_huge")
def _():
    b = Bus()
    t = time.monotonic()
    e = fails(b.call, "PortAdd", "a{sv}", {f"k{i}": V("u", i) for i in range(100000)}, timeout=30)
    assert e.code == "InvalidArgument" and '"k0"' in e.message, e
    assert b.get_all()["State"] == "running" and time.monotonic() - t < 30


@case("unknown_class")
def _():
    refused("UnknownClass", "silver", **{"class": "silver"})


@case("unknown_port")
def _():
    e = fails(Bus().call, "PortDel", "st", key(77), 1)
    assert e.code == "UnknownPort", e


@case("unknown_object")
def _():
    daemon()
    b = Bus()
    for p in ("nic/0", "nic/pf_", "nic/pf_0000_03_00_0", "nic/7", "nic/007", "nic/02", "nic/99999999999999999999", "port/x", "nic/2/x",
              "port/" + "0" * 32 + "_" + "0" * 12, path()[len("/org/vnicd1/"):]):
        e = fails(b.get_all, "/org/vnicd1/" + p, "org.vnicd1.Nic" if p.startswith("nic") else "org.vnicd1.Port")
        assert e.name == "org.freedesktop.DBus.Error.UnknownObject", (p, e)
    # What is no path at all never passes the bus: it hangs up on its sender.
    rude = Bus()
    try:
        rude.get_all("/org/vnicd1/port/../x", "org.vnicd1.Port")
    except (EOFError, OSError):
        pass
    else:
        raise AssertionError("the bus takes a malformed path")
    assert b.get_all()["State"] == "running"


@case("property_write")
def _():
    e = fails(Bus().call, "Set", "ssv", "org.vnicd1.Manager", "State", V("s", "broken"),
              interface="org.freedesktop.DBus.Properties")
    assert e.name == "org.freedesktop.DBus.Error.PropertyReadOnly", e


@case("wrong_signature")
def _():
    daemon()
    b = Bus()
    for method, signature, *args in [("Reload", "s", "x"), ("PortAdd", "", ), ("PortAdd", "a{ss}", {}),
                                     ("PortDel", "s", key()), ("PortDel", "su", key(), 1), ("DeviceAttach", "s", key()),
                                     ("DeviceDetach", "ss", key(), "1"), ("AttachPreview", "s", "x"), ("PortAttach", "s", "x"),
                                     ("PortDetach", "s", "x"), ("DomainCheck", "as", ["x"]),
                                     ("PlanPreview", "s", "x"), ("ListClasses", "u", 1)]:
        e = fails(b.call, method, signature, *args)
        assert e.name == "org.freedesktop.DBus.Error.InvalidArgs", (method, e)


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
