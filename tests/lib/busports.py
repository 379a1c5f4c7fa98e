# SPDX-License-Identifier: GPL-2.0-or-later
"""Ports over D-Bus, by hand: for tests of org.vnicd1."""
import os
import xml.etree.ElementTree as ET

from rawbus import DBusError, V
from vt import TOP, wait_for

UUID = "12345678-9abc-def0-1234-56789abcdef0"
UUID2 = "22345678-9abc-def0-1234-56789abcdef0"


def mac(n):
    return f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}"


def spec(n=1, **more):
    """The a{sv} of a port; a None takes a key away."""
    s = {"uuid": V("s", UUID), "mac": V("s", mac(n)), "class": V("s", "gold")}
    for k, v in more.items():
        s[k] = v if isinstance(v, V) or v is None else V("s", v)
    return {k: v for k, v in s.items() if v is not None}


def key(n=1, uuid=UUID):
    return f"{uuid}/{mac(n)}"


def path(n=1, uuid=UUID):
    return f"/org/vnicd1/port/{uuid.replace('-', '')}_{mac(n).replace(':', '')}"


def ports(bus):
    return {v["org.vnicd1.Port"]["Key"]: v["org.vnicd1.Port"] for v in bus.objects().values()
            if "org.vnicd1.Port" in v}


def add(bus, n=1, **more):
    return bus.call("PortAdd", "a{sv}", spec(n, **more))[0]


def release_all(bus):
    for k, p in ports(bus).items():
        try:
            bus.call("PortDel", "st", k, p["Generation"])
        except DBusError as e:
            assert e.code == "UnknownPort", e
    wait_for("no port", lambda: not ports(bus))


def _interface(element):
    """An interface as comparable data: order, comments and blanks do not count."""
    def annotations(e):
        return sorted((a.get("name"), a.get("value")) for a in e.findall("annotation"))
    out = []
    for e in element:
        if e.tag == "annotation":
            continue
        args = [(a.get("name"), a.get("type"), a.get("direction", "in")) for a in e.findall("arg")]
        out.append((e.tag, e.get("name"), e.get("type"), e.get("access"), args, annotations(e)))
    return sorted(out, key=lambda x: (x[0], x[1]))


def same_contract(bus, name, where):
    """The interface org.vnicd1.NAME of an object is the one of api/ and the one installed."""
    file = os.path.join(TOP, f"api/org.vnicd1.{name}.xml")
    want = {i.get("name"): _interface(i) for i in ET.parse(file).getroot().findall("interface")}
    seen = {i.get("name"): _interface(i) for i in ET.fromstring(bus.introspect(where)).findall("interface")
            if i.get("name").startswith("org.vnicd1")}
    assert list(want) == [f"org.vnicd1.{name}"] == list(seen), (list(want), list(seen))
    for one, parts in want.items():
        differ = [x for x in parts if x not in seen[one]] + [x for x in seen[one] if x not in parts]
        assert not differ, differ[:4]
    with open(file, "rb") as f, open(f"/usr/share/dbus-1/interfaces/org.vnicd1.{name}.xml", "rb") as g:
        assert f.read() == g.read(), f"{g.name} is not {f.name}"
