#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A bridge of Open vSwitch's as the segment: the tap joins it and leaves it, whatever happens to vnicd and to
ovsdb-server. Rows of tests/tables/ovs.md."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hoststate  # noqa: E402
from daemon import Vnicd  # noqa: E402
from net import ip, links  # noqa: E402
from ovs import Ovs, database, port_row, vsctl  # noqa: E402
from vt import main, run, test, wait_for  # noqa: E402

UUID = "11111111-2222-3333-4444-555555555555"
TAP = "vn0-lan"
bed = {}


def mac(n):
    return f"52:54:00:00:00:{n:02x}"


def house():
    """Open vSwitch with two bridges, vnicd and its datapath; they serve all tests."""
    if not bed:
        ovs = Ovs().start()
        bed.update(ovs=ovs, br0=ovs.bridge("br0"), br1=ovs.bridge("br1", "52:54:00:00:00:fd"))
        bed["v"] = Vnicd(units=True).start()
        bed["v"].wait_connected()
        bed["before"] = state()
    return bed["v"]


def state():
    return {**hoststate.snapshot(), "database": str(database())}


def add(n, *more, check=True):
    return house().ctl("port", "add", "uuid", UUID, "mac", mac(n), "class", "gold", *more, check=check)


def delete(n):
    house().ctl("port", "del", f"{UUID}/{mac(n)}")


def as_before():
    def same():
        return not hoststate.difference(bed["before"], state())
    try:
        wait_for("the host as before", same, 15, 0.2)
    except AssertionError:
        raise AssertionError("\n".join(hoststate.difference(bed["before"], state()))) from None


def said():
    """What vnicd says is wrong with the segment."""
    return " ".join(r for r in house().ctl("status")["status"]["reasons"] if "segment" in r)


def trunk():
    row = port_row(TAP)
    return row and (row["vlan_mode"], row["trunks"] if isinstance(row["trunks"], list) else [row["trunks"]])


def scenario(name):
    def register(fn):
        def wrapped():
            house()
            try:
                fn()
            finally:
                if bed["ovs"].db.poll() is not None:
                    bed["ovs"].start_db()
                for p in house().ports().values():
                    house().ctl("port", "del", p["key"], check=False)
            as_before()
        return test(name.split(":")[0])(wrapped)
    return register


@scenario("ovs-join-and-leave: the tap is a port of the bridge, marked as vnicd's, and goes with the last port")
def join_and_leave():
    add(1)
    assert trunk() == ("trunk", [0]), trunk()
    assert port_row(TAP)["external_ids"] == {"vnicd": "segment lan"}, port_row(TAP)
    assert bed["br0"].has(TAP) and "UP" in links()[TAP]["flags"]
    assert house().ports()[mac(1)]["state"] == "ready"
    delete(1)


@scenario("ovs-vlans: the trunk takes the VLANs that ports are in, and no others")
def vlans():
    add(1)
    add(2, "vlan", "12")
    wait_for("VLAN 12", lambda: trunk() == ("trunk", [0, 12]))
    delete(2)
    wait_for("no VLAN 12", lambda: trunk() == ("trunk", [0]))


@scenario("ovs-plan: a dry run tells of the port that would be made")
def plan():
    out = house().ctl("--dry-run", "port", "add", "uuid", UUID, "mac", mac(1), "class", "gold", "vlan", "12")
    text = str(out)
    assert "Open vSwitch's bridge br0" in text and "VLAN 12 through the Open vSwitch port" in text, out


@scenario("ovs-restart: vnicd restarted, and killed with -9, finds its port again and changes nothing")
def restart():
    add(1)
    add(2, "vlan", "12")
    uuid = vsctl("get", "port", TAP, "_uuid")
    for end in ("stop", "kill"):
        getattr(bed["v"].daemon, end)()
        bed["v"].daemon.start()
        bed["v"].wait_connected()
        time.sleep(0.5)
        assert vsctl("get", "port", TAP, "_uuid") == uuid and trunk() == ("trunk", [0, 12]), trunk()


@scenario("ovs-gone-while-away: what went while vnicd was dead is there again")
def gone_while_away():
    add(1, "vlan", "12")
    bed["v"].daemon.kill()
    vsctl("del-port", TAP)
    bed["v"].daemon.start()
    wait_for("the port", lambda: trunk() == ("trunk", [0, 12]), 15)


@scenario("ovs-killed-at-work: killed with -9 at any time while ports come and go, nothing is left over")
def killed_at_work():
    for i in range(8):
        pid = os.fork()
        if pid == 0:
            for n in (1, 2):
                run("vnicctl", "port", "add", "uuid", UUID, "mac", mac(n), "class", "gold", "vlan", "12", check=False)
            for n in (1, 2):
                run("vnicctl", "port", "del", f"{UUID}/{mac(n)}", check=False)
            os._exit(0)
        time.sleep(0.02 + i * 0.03)
        bed["v"].daemon.kill()
        os.waitpid(pid, 0)
        bed["v"].daemon.start()
        bed["v"].wait_connected()
        for p in bed["v"].ports().values():
            bed["v"].ctl("port", "del", p["key"], check=False)
        as_before()


@scenario("ovs-name-taken: a port of the tap's name that is not vnicd's is left alone, and the error says so")
def name_taken():
    vsctl("add-port", "br1", TAP, "--", "set", "interface", TAP, "type=internal")
    try:
        before = database()
        status, out = add(1, check=False)
        assert status != 0 and TAP in str(out), out
        assert database() == before
    finally:
        vsctl("del-port", TAP)
    wait_for("its interface to go", lambda: TAP not in links())


@scenario("ovs-row-taken: a row of the tap's name in another bridge is left alone, and the error says where it is")
def row_taken():
    vsctl("--no-wait", "add-port", "br1", TAP)
    try:
        status, out = add(1, check=False)
        assert status != 0 and "ovs-vsctl del-port vn0-lan" in str(out) and "br1" in str(out), out
        assert bed["br1"].has(TAP) and not bed["br0"].has(TAP)
    finally:
        vsctl("del-port", TAP)


@scenario("ovs-port-taken-out: somebody takes the tap out of the bridge: it is put back, with its VLANs")
def taken_out():
    add(1, "vlan", "12")
    wait_for("VLAN 12", lambda: trunk() == ("trunk", [0, 12]))
    vsctl("del-port", TAP)
    wait_for("the port again", lambda: trunk() == ("trunk", [0, 12]), 15)


@scenario("ovs-trunk-taken: somebody takes a VLAN from the trunk: it is put back")
def trunk_taken():
    add(1, "vlan", "12")
    wait_for("VLAN 12", lambda: trunk() == ("trunk", [0, 12]))
    vsctl("set", "port", TAP, "trunks=0")
    wait_for("the VLAN again", lambda: trunk() == ("trunk", [0, 12]), 15)


@scenario("ovs-server-away: without ovsdb-server nothing of what stands is touched, and it is said")
def server_away():
    add(1)
    bed["ovs"].kill_db()
    wait_for("a reason", lambda: "ovsdb-server does not answer" in said())
    assert house().ports()[mac(1)]["state"] == "ready"
    bed["ovs"].start_db()
    wait_for("no reason", lambda: said() == "", 20)
    assert trunk() == ("trunk", [0]), trunk()


@scenario("ovs-server-away-at-add: a port cannot be made meanwhile; the error names ovsdb-server; later it can")
def server_away_at_add():
    bed["ovs"].kill_db()
    status, out = add(1, check=False)
    assert status != 0 and "ovsdb-server" in str(out), out
    bed["ovs"].start_db()
    wait_for("a port", lambda: add(1, check=False)[0] == 0, 30, 0.5)
    assert trunk() == ("trunk", [0]), trunk()


@scenario("ovs-server-away-at-delete: the last port deleted meanwhile: the tap goes once ovsdb-server is back")
def server_away_at_delete():
    add(1)
    bed["ovs"].kill_db()
    delete(1)
    time.sleep(1)
    assert TAP in links()
    assert "ovsdb-server" in said(), said()
    bed["ovs"].start_db()
    wait_for("the tap to be gone", lambda: TAP not in links() and port_row(TAP) is None, 30)


@scenario("ovs-server-hangs: a silent ovsdb-server holds up nobody else")
def server_hangs():
    add(1)
    os.kill(bed["ovs"].db.pid, signal.SIGSTOP)
    try:
        pid = os.fork()
        if pid == 0:
            add(2, "vlan", "12", check=False)
            os._exit(0)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            begun = time.monotonic()
            house().ctl("status")
            assert time.monotonic() - begun < 2, "vnicd was held up"
    finally:
        os.kill(bed["ovs"].db.pid, signal.SIGCONT)
    os.waitpid(pid, 0)
    wait_for("VLAN 12", lambda: trunk() == ("trunk", [0, 12]), 20)


@scenario("ovs-bridge-away: without the bridge ports reach each other only; made again, it has its port again")
def bridge_away():
    add(1)
    bed["br0"].delete()
    try:
        wait_for("a reason", lambda: "br0" in said(), 15)
    finally:
        bed["br0"] = bed["ovs"].bridge("br0")
    wait_for("the port", lambda: trunk() == ("trunk", [0]), 20)
    wait_for("no reason", lambda: said() == "", 15)


@scenario("ovs-other-bridge: bridge= of the segment changed: the tap moves")
def other_bridge():
    from daemon import CONF
    add(1)
    bed["v"].configure(CONF.replace("bridge=br0", "bridge=br1"))
    try:
        house().ctl("reload")
        delete(1)
        add(1)
        wait_for("the move", lambda: bed["br1"].has(TAP) and not bed["br0"].has(TAP), 15)
        delete(1)
    finally:
        bed["v"].configure(CONF)
        house().ctl("reload")


@scenario("ovs-uplink: which uplinks are in the bridge is known, and said")
def uplink():
    from daemon import CONF
    ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
    bed["v"].configure(CONF.replace("bridge=br0", "bridge=br0\nuplink=up0"))
    try:
        house().ctl("reload")
        out = house().ctl("--dry-run", "port", "add", "uuid", UUID, "mac", mac(1), "class", "gold")
        assert "not in the bridge" in str(out), out
        bed["br0"].add("up0")
        wait_for("the uplink to be known", lambda: "not in the bridge" not in str(
            house().ctl("--dry-run", "port", "add", "uuid", UUID, "mac", mac(1), "class", "gold")))
        vsctl("del-port", "up0")
    finally:
        bed["v"].configure(CONF)
        house().ctl("reload")
        ip("link", "del", "up0")


@test("ovs-end")
def end():
    house().stop()
    bed["ovs"].stop()


main()
