#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.1/9
# time limit: 600
"""The units as they are installed, under a real systemd: start, activation, watchdog, restart, stop, boot."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import main, start, test, wait_for  # noqa: E402
import nested  # noqa: E402

MAC = "52:54:00:00:00:0a"
CONF = """[segment lan]
bridge=br0

[class gold]
segment=lan
"""
UNITS = ("vnicd", "vnicd-datapath")
bed = {}


def host():
    """The host VM with a bridge, a configuration and vnicd running."""
    if "host" not in bed:
        h = bed["host"] = start()
        h.sh("ip link add br0 type bridge forward_delay 0; ip link set br0 up; ip addr add 10.9.0.254/24 dev br0")
        h.write("/etc/vnicd/vnicd.conf", CONF)
        bed["before"] = state()
    return bed["host"]


def running():
    h = host()
    h.sh("systemctl start vnicd")
    connected()
    return h


def state():
    """What vnicd could leave behind, by tests/lib/hoststate.py in the host VM."""
    return json.loads(bed["host"].sh("cd /root/tests/lib && python3 -B -c "
                                     "'import hoststate, json; print(json.dumps(hoststate.snapshot()))'"))


def ctl(*args):
    return json.loads(host().sh(f"vnicctl -j {' '.join(args)}"))


def connected():
    wait_for("vnicd to be connected with its datapath",
             lambda: host().run(["vnicctl", "-j", "status"])[1].find(b'"datapath_connected":true') >= 0, 20, 0.2)


def pid(unit):
    return int(host().sh(f"systemctl show -p MainPID --value {unit}"))


def guest():
    """A guest with a port of class gold, started once."""
    if "guest" not in bed:
        g = nested.Guest(running(), "g", nested.vhostuser(MAC, "/run/vnicd/sock/gold/g.sock"))
        g.define().start().ip("10.9.0.1/24").ping("10.9.0.254")
        bed["guest"] = g
    return bed["guest"]


def port():
    return next(p for p in ctl("port", "show")["ports"] if p["mac"] == MAC)


@test("systemd-analyze finds nothing wrong in the units, and they give up most of root's rights")
def _verify():
    h = host()
    out = h.sh("systemd-analyze verify --man=no vnicd.service vnicd-datapath.service 2>&1")
    assert "vnicd" not in out, out
    for unit in UNITS:
        last = h.sh(f"systemd-analyze security --no-pager {unit} | tail -1")
        exposure = float(last.rsplit(":", 1)[1].split()[0])
        assert exposure <= 5.0, last


@test("the packages' triggers make the group of readers and the folders of /run/vnicd")
def _triggers():
    h = host()
    h.sh("getent group vnicd")
    out = h.sh("stat -c '%n %a %U' /run/vnicd /run/vnicd/sock /run/vnicd/ports /run/vnicd/shared")
    assert out.splitlines() == ["/run/vnicd 711 root", "/run/vnicd/sock 711 root", "/run/vnicd/ports 700 root",
                                "/run/vnicd/shared 700 root"], out


@test("a call on the bus starts vnicd, and that its datapath")
def _activation():
    h = host()
    h.sh("systemctl stop vnicd vnicd-datapath")
    h.sh("busctl call org.vnicd1 /org/vnicd1 org.freedesktop.DBus.ObjectManager GetManagedObjects")
    for unit in UNITS:
        assert h.sh(f"systemctl is-active {unit}") == "active"
    connected()


@test("systemctl start vnicd starts both, and vnicctl status answers")
def _start():
    h = host()
    h.sh("systemctl stop vnicd vnicd-datapath; systemctl start vnicd")
    connected()
    assert ctl("status")["status"]["state"] == "running"
    status, _ = h.run(["vnicctl", "diagnose"])
    assert status == 0


@test("the bus: members of the group vnicd may read, nobody else may, and only root may write")
def _policy():
    h = running()
    h.sh("id reader >/dev/null 2>&1 || useradd -G vnicd reader; id other >/dev/null 2>&1 || useradd other")
    call = "busctl call org.vnicd1 /org/vnicd1"
    read = f"{call} org.freedesktop.DBus.ObjectManager GetManagedObjects"
    h.sh(f"runuser -u reader -- {read}")
    status, out = h.run(["sh", "-c", f"runuser -u other -- {read}"])
    assert status != 0 and b"denied" in out.lower(), out
    status, out = h.run(["sh", "-c", f"runuser -u reader -- {call} org.vnicd1.Manager Reload"])
    assert status != 0 and b"denied" in out.lower(), out
    h.sh(f"{call} org.vnicd1.Manager Reload")


@test("systemctl restart vnicd under a guest's traffic leaves its port alone")
def _restart():
    g = guest()
    before, old = port(), pid("vnicd")
    inode = host().sh("stat -c %i /run/vnicd/sock/gold/g.sock")
    g.bg("ping -i 0.1 -c 60 10.9.0.254", "/tmp/restart")
    host().sh("systemctl restart vnicd")
    connected()
    assert pid("vnicd") != old
    after = port()
    assert after["generation"] == before["generation"] and after["state"] == "running", after
    assert host().sh("stat -c %i /run/vnicd/sock/gold/g.sock") == inode
    status, out = g.bg_wait("/tmp/restart")
    assert status == 0 and " 0% packet loss" in out, out


@test("a vnicd that does not answer its watchdog is replaced, its port goes on")
def _watchdog():
    g = guest()
    h, old = host(), pid("vnicd")
    h.write("/run/systemd/system/vnicd.service.d/quick.conf", "[Service]\nWatchdogSec=4\n")
    h.sh("systemctl daemon-reload; systemctl restart vnicd")
    old = pid("vnicd")
    h.sh(f"kill -STOP {old}")
    wait_for("systemd to start another vnicd", lambda: pid("vnicd") not in (0, old), 45, 0.5)
    connected()
    assert port()["state"] == "running"
    g.ping("10.9.0.254")
    h.sh("rm -r /run/systemd/system/vnicd.service.d; systemctl daemon-reload; systemctl restart vnicd")
    assert h.sh("journalctl -u vnicd -o cat | grep -c -i watchdog") != "0"


@test("a datapath that is killed, or restarted, is not missed by a guest: its link stays, no ping is lost")
def _datapath():
    g = guest()
    links, before = g.sh("cat /sys/class/net/eth0/carrier_changes"), port()
    for act in ("systemctl kill -s KILL --kill-who=main vnicd-datapath", "systemctl restart vnicd-datapath"):
        old = pid("vnicd-datapath")
        g.bg("ping -i 0.1 -c 80 10.9.0.254", "/tmp/datapath")
        host().sh(act)
        wait_for("systemd to start another datapath", lambda p=old: pid("vnicd-datapath") not in (0, p), 20, 0.2)
        connected()
        status, out = g.bg_wait("/tmp/datapath")
        print("# " + out.strip().rsplit("\n", 1)[-1], flush=True)
        assert status == 0 and " 0% packet loss" in out, out
    assert g.sh("cat /sys/class/net/eth0/carrier_changes") == links, "its link went down"
    after = port()
    assert after["generation"] == before["generation"] and after["state"] == "running", after


@test("a configuration that is refused stops vnicd with its reason, and is not tried again and again")
def _refused():
    h = running()
    h.write("/etc/vnicd/vnicd.conf", "[class gold]\nsegment=nowhere\n")
    try:
        status, _ = h.run(["systemctl", "restart", "vnicd"])
        assert status != 0
        time.sleep(1.5)
        assert h.sh("systemctl show -p NRestarts --value vnicd") == "0"
        assert h.sh("systemctl show -p ExecMainStatus --value vnicd") == "78"
        assert "nowhere" in h.sh("journalctl -u vnicd -o cat -n 20")
    finally:
        h.write("/etc/vnicd/vnicd.conf", CONF)
    h.sh("systemctl reset-failed vnicd; systemctl start vnicd")


@test("stopped after its last guest, nothing is left: the host reads as before")
def _stop():
    g = guest()
    g.destroy().undefine()
    bed.pop("guest")
    h = host()
    wait_for("the port to be gone", lambda: not ctl("port", "show")["ports"], 20, 0.2)
    h.sh("systemctl stop vnicd vnicd-datapath")
    after = state()
    # The names of its own two sockets stay for the next start.
    left = {k: v for k, v in after.items() if bed["before"].get(k) != v
            and k not in ("file /run/vnicd/hook.sock", "file /run/vnicd/datapath.sock")}
    gone = {k: v for k, v in bed["before"].items() if k not in after}
    assert not left and not gone, f"left: {left}; gone: {gone}"


@test("enabled, both are there after a boot, and before libvirtd")
def _boot():
    h = host()
    h.sh("systemctl enable vnicd vnicd-datapath; sync")
    h.stop()
    h.boot()
    wait_for("the boot's end", lambda: h.run(["systemctl", "is-system-running", "--wait"], 90)[1].strip() in
             (b"running", b"degraded"), 100, 1)
    for unit in UNITS:
        assert h.sh(f"systemctl is-active {unit}") == "active"
    connected()
    at = [int(h.sh(f"systemctl show -p ActiveEnterTimestampMonotonic --value {u}")) for u in ("vnicd", "libvirtd")]
    assert at[1] == 0 or at[0] < at[1], at


main()
