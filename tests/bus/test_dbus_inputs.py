#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# time limit: 180
"""tests/tables/dbus-inputs.md: one test a row, against vnicd with its datapath: what callers may not do and may not say."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from busports import UUID2, add, key, mac, path, ports, release_all, spec  # noqa: E402
from dbusbed import DENIED, HUGE, as_user, case, daemon, fails, refused  # noqa: E402
from rawbus import Bus, V  # noqa: E402
from vt import main, run  # noqa: E402


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


main()
