# SPDX-License-Identifier: GPL-2.0-or-later
"""Open vSwitch in the sandbox, by hand: ovsdb-server and ovs-vswitchd with its userspace datapath, which needs no
module of the kernel."""
import json
import os
import shutil
import subprocess

from guest import die_with_me
from net import Outside, ip, links, quiet
from vt import run, wait_for

RUN = "/run/openvswitch"
SOCK = f"{RUN}/db.sock"
DB = f"{RUN}/conf.db"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


# "system" for the kernel's, where there is openvswitch.ko.
DATAPATH = os.environ.get("VNIC_OVS_DATAPATH", "netdev")


class Ovs:
    def __init__(self):
        self.db = self.switch = None

    def start(self):
        os.makedirs(RUN, exist_ok=True)
        if os.path.exists(DB):
            os.unlink(DB)
        run("ovsdb-tool", "create", DB, SCHEMA)
        self.start_db()
        run("ovs-vsctl", "--no-wait", "init")
        self.switch = self._spawn("ovs-vswitchd", f"unix:{SOCK}", *(["--disable-system"] if DATAPATH == "netdev" else []),
                                  f"--unixctl={RUN}/v.ctl")
        return self

    def start_db(self):
        self.db = self._spawn("ovsdb-server", DB, f"--remote=punix:{SOCK}", f"--unixctl={RUN}/d.ctl")
        wait_for("ovsdb-server's socket",
                 lambda: run("ovs-vsctl", "--no-wait", "--timeout=2", "show", check=False).returncode == 0)

    @staticmethod
    def _spawn(program, *args):
        with open(f"/var/log/{program}.log", "ab") as log:
            return subprocess.Popen([shutil.which(program, path="/usr/sbin:/usr/bin"), *args],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_me)

    def kill_db(self):
        self.db.kill()
        self.db.wait(10)
        if os.path.exists(SOCK):
            os.unlink(SOCK)

    @staticmethod
    def bridge(name, mac="52:54:00:00:00:fe"):
        return OvsBridge(name, mac)

    def stop(self):
        for p in (self.switch, self.db):
            if p and p.poll() is None:
                p.kill()
                p.wait(10)


class OvsBridge:
    """As net.Bridge, of Open vSwitch's."""

    def __init__(self, name, mac):
        self.name = name
        run("ovs-vsctl", "--timeout=10", "add-br", name, "--", "set", "bridge", name, f"datapath_type={DATAPATH}",
            f"other_config:hwaddr={mac}")
        wait_for(f"{name}'s interface", lambda: name in links())
        quiet(name)
        ip("link", "set", name, "up")

    @property
    def mac(self):
        return links()[self.name]["address"]

    def add(self, dev, *columns):
        ip("link", "set", dev, "up")
        run("ovs-vsctl", "--timeout=10", "add-port", self.name, dev, *columns)

    def ports(self):
        return run("ovs-vsctl", "--timeout=10", "list-ports", self.name).split()

    def has(self, port):
        return port in self.ports()

    def outside(self, name="out", address=None):
        return Outside(name, self, address)

    def delete(self):
        run("ovs-vsctl", "--timeout=10", "del-br", self.name)


def vsctl(*args):
    return run("ovs-vsctl", "--timeout=10", *args).strip()


def port_row(name):
    """The row of a port as an object; None: there is none."""
    out = json.loads(vsctl("--format=json", "--columns=name,trunks,tag,vlan_mode,external_ids", "find", "port",
                           f"name={name}"))
    if not out["data"]:
        return None
    row = dict(zip(out["headings"], out["data"][0]))

    def plain(v):
        if isinstance(v, list) and v[0] == "set":
            return v[1]
        if isinstance(v, list) and v[0] == "map":
            return dict(v[1])
        return v
    return {k: plain(v) for k, v in row.items()}


def database():
    """All that the database says of bridges, ports and interfaces, without what vswitchd writes into it."""
    out = {t: sorted(run("ovs-vsctl", "--timeout=10", "--format=csv", f"--columns={c}", "list", t).splitlines())
           for t, c in (("port", "name,tag,trunks,vlan_mode,external_ids"), ("interface", "name,type,external_ids"))}
    for br in vsctl("list-br").split():
        out[f"bridge {br}"] = sorted(vsctl("list-ports", br).split())
    return out
