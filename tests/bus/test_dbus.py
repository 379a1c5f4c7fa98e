#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd and vnicctl on the system bus: the contract, the signals, what people and programs are told."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import jsonschema

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from daemon import CONF, Vnicd  # noqa: E402
from net import Bridge  # noqa: E402
from busports import UUID, add, key, mac, path, ports, release_all, same_contract, spec  # noqa: E402
from rawbus import Bus, DBusError, V  # noqa: E402
from vhost_client import Client, frame  # noqa: E402
from vt import TOP, main, run, test, wait_for  # noqa: E402

SCHEMA = os.path.join(TOP, "api/vnicctl.schema.json")
_bed = {}


def bed():
    """Bridge, datapath and vnicd, once for all tests."""
    if not _bed:
        _bed["bridge"] = Bridge("br0")
        _bed["vnicd"] = Vnicd(CONF).start()
        _bed["vnicd"].wait_connected()
    return _bed["vnicd"]


def ctl(*args, check=True, **kw):
    return run("vnicctl", *args, check=check, **kw)


def valid(text):
    """What vnicctl -j printed, checked against the schema."""
    with open(SCHEMA, encoding="utf-8") as f:
        validator = jsonschema.Draft202012Validator(json.load(f))
    o = json.loads(text)
    errors = [e.message for e in validator.iter_errors(o)]
    for name in o:
        if name in validator.schema["$defs"]:
            part = validator.evolve(schema={"$ref": f"#/$defs/{name}", "$defs": validator.schema["$defs"]})
            errors = [f"{'/'.join(map(str, e.path))}: {e.message}" for e in part.iter_errors(o)]
    assert not errors, errors[:3]
    return o


@test("introspection_is_the_contract")
def _():
    bed()
    b = Bus()
    add(b)
    for name, where in (("Manager", "/org/vnicd1"), ("Port", path())):
        same_contract(b, name, where)
    release_all(b)


@test("objects_are_managed")
def _():
    bed()
    b = Bus()
    add(b, name="web", domain="web", vlan=V("q", 12), rate=V("t", 2000000000), weight=V("u", 7))
    objects = b.objects()
    port = objects[path()]["org.vnicd1.Port"]
    want = {"Key": key(), "Uuid": UUID, "Mac": mac(1), "Domain": "web", "Class": "gold", "Segment": "lan",
            "Name": "web", "Socket": "/run/vnicd/sock/gold/web.sock", "State": "ready", "Path": "software",
            "Vlan": 12, "Rate": 2000000000, "Weight": 7, "Queues": 1, "QueuesActive": 0, "PeerPid": 0,
            "Logging": False, "Restarts": 0}
    assert {k: port[k] for k in want} == want, port
    assert port["Generation"] > 0 and [t for _, t in port["History"]]
    assert os.path.exists(port["Socket"])
    manager = b.get_all()
    assert manager["State"] == "running" and manager["DatapathConnected"] and manager["Reasons"] == [], manager
    release_all(b)
    assert not os.path.exists(port["Socket"])


@test("signals_tell_what_changed")
def _():
    bed()
    b, ear = Bus(), Bus()
    ear.listen()
    add(b)
    m = ear.signal(lambda s: s.member == "InterfacesAdded")
    assert m.path == "/org/vnicd1" and m.body[0] == path()
    assert m.body[1]["org.vnicd1.Port"]["Key"] == key()
    states = [m.body[1]["org.vnicd1.Port"]["State"]]
    while states[-1] != "ready":
        m = ear.signal(lambda s: s.member == "PropertiesChanged" and s.path == path())
        assert m.body[0] == "org.vnicd1.Port" and "Key" not in m.body[1], m.body
        states.append(m.body[1].get("State", states[-1]))
    assert "Version" in b.get_all()
    release_all(b)
    m = ear.signal(lambda s: s.member == "InterfacesRemoved")
    assert m.body[0] == path() and "org.vnicd1.Port" in m.body[1]
    # What came before an answer was told before it.
    both = Bus()
    both.listen()
    serial = both.send("PortAdd", "a{sv}", spec())
    both.wait(serial)
    assert any(s.member == "InterfacesAdded" for s in both.signals)
    release_all(b)


@test("degraded_says_why")
def _():
    v = bed()
    b, ear = Bus(), Bus()
    ear.listen()
    v.keeper.kill()
    m = ear.signal(lambda s: s.member == "PropertiesChanged" and s.body[0] == "org.vnicd1.Manager")
    assert m.body[1]["DatapathConnected"] is False
    assert b.get_all()["State"] == "degraded"
    assert "vnicd-datapath" in b.get_all()["Reasons"][0]
    out = ctl("status").replace("\n", " ")
    assert "degraded" in out and "vnicd-datapath" in out and "diagnose" in out, out
    assert ctl("diagnose", check=False).returncode == 1
    v.daemon.kill()
    assert "vnicd-datapath does not run" in ctl("diagnose", check=False).stdout
    v.daemon.start()
    v.keeper.start()
    b = Bus()
    wait_for("running again", lambda: b.get_all()["State"] == "running")
    assert b.get_all()["Reasons"] == []


def changed(ear, want, timeout=10.0):
    """Wait for a signal of the port whose properties hold these; all that came until then."""
    seen = {}
    while not all(seen.get(k) == v for k, v in want.items()):
        m = ear.signal(lambda s: s.member == "PropertiesChanged" and s.path == path(), timeout)
        seen.update(m.body[1])
    return seen


def manager_says(ear, state):
    ear.signal(lambda s: s.member == "PropertiesChanged" and s.body[0] == "org.vnicd1.Manager"
               and s.body[1].get("State") == state)


@test("port_state_is_signalled")
def _():
    bed()
    b, ear = Bus(), Bus()
    add(b)
    ear.listen()
    with Client(ports(b)[key()]["Socket"]) as c:
        changed(ear, {"State": "connected", "PeerPid": os.getpid()})
        c.run()
        changed(ear, {"State": "running", "QueuesActive": 1})
    changed(ear, {"State": "ready", "PeerPid": 0, "QueuesActive": 0})
    release_all(b)


@test("quarantine_is_signalled")
def _():
    bed()
    b, ear = Bus(), Bus()
    add(b)
    ear.listen()
    # A guest whose memory goes away costs a worker; the second time is the last.
    for _ in range(2):
        restarts = ports(b)[key()]["Restarts"]
        with Client(ports(b)[key()]["Socket"]) as c:
            c.run()
            os.ftruncate(c.memfd, 0)
            os.eventfd_write(c.kick[1], 1)
            wait_for("the worker to be replaced", lambda n=restarts: ports(b)[key()]["Restarts"] > n)
    seen = changed(ear, {"State": "quarantined"})
    assert "cost two workers" in seen["Reason"] and seen["Restarts"] >= 2, seen
    wait_for("degraded", lambda: b.get_all()["State"] == "degraded")
    assert key() in b.get_all()["Reasons"][0], b.get_all()
    assert "quarantined" in ctl("port", "show")
    release_all(b)
    assert b.get_all()["State"] == "running"


@test("missing_bridge_is_a_reason")
def _():
    bed()
    b = Bus()
    run("ip", "link", "set", "br0", "name", "br7")
    wait_for("degraded", lambda: b.get_all()["State"] == "degraded")
    reason = b.get_all()["Reasons"][0]
    assert "br0" in reason and "vnicd.conf:2" in reason, reason
    out = ctl("segment")
    assert "missing" in out and "ip link add br0 type bridge" in out, out
    # Who looks at a port learns of what its state does not say.
    assert "vnicd is degraded: segment lan: its bridge br0" in ctl("port"), ctl("port")
    run("ip", "link", "set", "br7", "name", "br0")
    wait_for("running", lambda: b.get_all()["State"] == "running")


@test("counters_are_as_young_as_the_answer")
def _():
    bed()
    b = Bus()
    for n in (1, 2):
        add(b, n)
    with Client(ports(b)[key(1)]["Socket"]).run() as one, Client(ports(b)[key(2)]["Socket"]).run() as two:
        for sent in range(1, 21):
            f = frame(mac(2), mac(1), b"%d" % sent)
            one.transmit(f)
            two.wait_frame(f)
            # Calls at once: each answer's counters hold what was through before its call.
            for s in [b.send("RefreshCounters") for _ in range(sent % 3 + 1)]:
                b.wait(s)
            c = [ports(b)[key(n)]["Counters"] for n in (1, 2)]
            assert c[0]["rx_packets"] + c[0]["tx_packets"] == sent, (sent, c)
            assert c[1]["rx_packets"] + c[1]["tx_packets"] == sent, (sent, c)
    release_all(b)


@test("counters_are_fetched")
def _():
    bed()
    b = Bus()
    add(b)
    b.call("RefreshCounters")
    c = ports(b)[key()]["Counters"]
    assert set(c) == {"rx_packets", "rx_bytes", "rx_dropped", "tx_packets", "tx_bytes", "tx_dropped", "tx_spoofed"}
    release_all(b)
    b.call("RefreshCounters")


@test("reload_applies_or_says_why")
def _():
    v = bed()
    b = Bus()
    v.configure(CONF + "\n[class new]\nsegment=lan\n")
    assert "in force" in ctl("reload")
    assert "new" in [c["name"] for c in b.call("ListClasses")[0]]
    v.configure(CONF + "\n[class new]\nsegment=nope\n")
    p = ctl("reload", check=False)
    assert p.returncode == 1 and "vnicd.conf:" in p.stderr and "nope" in p.stderr, p.stderr
    assert "new" in [c["name"] for c in b.call("ListClasses")[0]]
    v.configure(CONF)
    ctl("reload")
    # systemctl reload says nothing of an error, and the next restart would be vnicd's last: it must be seen.
    ear = Bus()
    ear.listen()
    v.configure(CONF + "\n[class new]\nsegmnt=lan\n")
    v.daemon.proc.send_signal(signal.SIGHUP)
    manager_says(ear, "degraded")
    for args in (["status"], ["port"], ["diagnose"]):
        p = ctl(*args, check=False)
        assert "'segmnt'" in p.stdout and "before vnicd restarts" in p.stdout, p.stdout
    v.configure(CONF)
    v.daemon.proc.send_signal(signal.SIGHUP)
    manager_says(ear, "running")
    assert "segmnt" not in ctl("port")
    assert "new" not in [c["name"] for c in b.call("ListClasses")[0]]


@test("json_follows_the_schema")
def _():
    bed()
    assert valid(ctl("-j", "status"))["status"]["state"] == "running"
    assert "nics" in valid(ctl("-j", "nic"))
    assert valid(ctl("-j", "segment"))["segments"][0]["bridge_present"] is True
    assert [c["name"] for c in valid(ctl("-j", "class"))["classes"]] == ["gold", "blue"]
    plan = valid(ctl("-j", "--dry-run", "port", "add", "class", "gold", "vlan", "12"))["plan"]
    assert plan["path"] == "software" and len(plan["steps"]) >= 3
    assert valid(ctl("-j", "port"))["ports"] == []
    made = valid(ctl("-j", "port", "add", "uuid", UUID, "mac", mac(1), "class", "gold", "rate", "2gbit"))["ports"][0]
    assert made["key"] == key() and made["rate"] == 2000000000 and made["state"] == "ready"
    assert valid(ctl("-j", "port", "show", mac(1)))["ports"][0]["key"] == key()
    assert valid(ctl("-p", "port", "show"))["ports"][0]["key"] == key()
    checks = valid(ctl("-j", "diagnose"))["checks"]
    assert {"daemon", "datapath", "hooks", "libvirt", "bridge", "records"} <= {c["check"] for c in checks}
    assert valid(ctl("-j", "--dry-run", "port", "del", mac(1)))["result"]
    assert valid(ctl("-j", "port", "del", mac(1)))["result"]
    p = ctl("-j", "port", "show", "nope", check=False)
    assert valid(p.stdout)["error"]["code"] == "UnknownPort" and p.returncode == 4


@test("monitor_prints_events")
def _():
    bed()
    with subprocess.Popen(["vnicctl", "-j", "monitor", "-n", "3", "-t", "20"], stdout=subprocess.PIPE, text=True) as p, \
            subprocess.Popen(["vnicctl", "monitor", "-t", "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True) as human:
        assert "watching" in human.stderr.readline()
        # The first knows no line to wait for: make ports until it has heard of one.
        b = Bus()
        end = time.monotonic() + 15
        while p.poll() is None and time.monotonic() < end:
            add(b)
            release_all(b)
        lines = p.stdout.read().splitlines()
        assert p.wait(10) == 0 and len(lines) == 3, lines
        for line in lines:
            o = json.loads(line)
            with open(SCHEMA, encoding="utf-8") as f:
                schema = json.load(f)
            jsonschema.Draft202012Validator({"$ref": "#/$defs/event", "$defs": schema["$defs"]}).validate(o)
            assert o["id"] == key() and o["object"] == "port", o
        text = human.stdout.read()
        assert human.wait(10) == 0 and f"port {key()} added" in text and f"port {key()} removed" in text, text


@test("exit_statuses_are_told_apart")
def _():
    bed()
    for status, *args in [(0, "status"), (2, "--dry-run", "reload"), (2,), (2, "nonsense"), (2, "port", "add"),
                          (2, "port", "add", "mac"), (2, "port", "add", "mac", "x", "class", "gold"),
                          (2, "port", "add", "colour", "red"), (2, "port", "add", "vlan", "5000"),
                          (2, "--nope"), (2, "status", "-n", "1"), (2, "port", "detach", "web", "x"),
                          (2, "port", "add", "class", "gold"), (2, "port", "attach", "web", "vlan", "3"),
                          (2, "port", "add", "uuid", "1", "mac", mac(1), "class", "gold"),
                          (2, "port", "add", "uuid", UUID, "mac", mac(1), "class", "gold", "class", "gold"),
                          (4, "port", "show", "nope"), (4, "class", "show", "nope"), (4, "nic", "show", "nope"),
                          (4, "segment", "show", "nope"), (4, "port", "del", mac(9)),
                          (4, "port", "add", "uuid", UUID, "mac", mac(1), "class", "nope"),
                          (1, "port", "add", "uuid", UUID, "mac", mac(1), "class", "gold", "vlan", "9")]:
        p = ctl(*args, check=False)
        assert p.returncode == status, f"vnicctl {' '.join(args)}: {p.returncode}, not {status}: {p.stderr}"
        assert p.returncode == 0 or p.stderr.startswith(("vnicctl:", "usage:")), p.stderr
    ctl("port", "add", "uuid", UUID, "mac", mac(1), "class", "gold")
    assert ctl("port", "add", "uuid", UUID, "mac", mac(1), "class", "gold", check=False).returncode == 6
    ctl("port", "del", mac(1))
    for word, *args in [("no verb of port, which has show, add, del, attach, detach", "port", "switch", "x"),
                        ("domain needs a verb: check", "domain", "web"), ("uuid is missing", "port", "add", "class", "gold"),
                        ("like 52:54:00:12:34:56", "port", "detach", "web", "x"), ("--nope is not known", "--nope"),
                        ("-n is not known, or lacks its value", "monitor", "-n"), ("object is missing", "-j")]:
        p = ctl(*args, check=False)
        assert p.returncode == 2 and word in p.stderr + p.stdout, (args, p)
        p = ctl("-j", *args, check=False)
        assert p.returncode == 2 and word in valid(p.stdout)["error"]["message"], (args, p)
    for n in (1, 2):
        ctl("port", "add", "uuid", UUID, "mac", mac(n), "class", "gold")
    p = ctl("port", "del", UUID, check=False)
    assert p.returncode == 2 and f"{UUID}/{mac(1)}, {UUID}/{mac(2)}" in p.stderr, p
    for n in (1, 2):
        ctl("port", "del", f"{UUID}/{mac(n)}")
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    p = run(*nobody, "vnicctl", "status", check=False)
    assert p.returncode == 5 and "root" in p.stderr, p.stderr
    out = run(*nobody, "vnicctl", "diagnose", check=False).stdout
    assert out.startswith("unknown") and "unknown." in out.splitlines()[-1], out


@test("hung_daemon_is_told_soon")
def _():
    v = bed()
    v.daemon.proc.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        p = ctl("port", check=False)
        assert p.returncode == 7 and "systemctl restart vnicd" in p.stderr and "10 s" in p.stderr, p
        p = ctl("diagnose", check=False)
        assert p.returncode == 1 and "did not answer within 10 s" in p.stdout, p.stdout
        assert "systemctl start vnicd;" not in p.stdout, p.stdout
        assert time.monotonic() - start < 60
    finally:
        v.daemon.proc.send_signal(signal.SIGCONT)


@test("completion_knows_live_names")
def _():
    bed()
    ctl("port", "add", "uuid", UUID, "mac", mac(1), "class", "gold", "name", "web")

    def complete(*words):
        script = ("source /usr/share/bash-completion/bash_completion; "
                  "source /usr/share/bash-completion/completions/vnicctl; "
                  'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; '
                  '_vnicctl; printf "%s\\n" "${COMPREPLY[@]}"')
        return run("bash", "-c", script, "bash", "vnicctl", *words).split()

    assert "diagnose" in complete("") and complete("sta") == ["status"]
    assert sorted(complete("port", "")) == ["add", "attach", "del", "detach", "show"]
    assert complete("port", "add", "class", "") == ["blue", "gold"]
    assert "web" in complete("port", "show", "") and complete("class", "show", "b") == ["blue"]
    assert "vlan" in complete("port", "add", "class", "gold", "")
    assert "--dry-run" in complete("--d")
    ctl("port", "del", "web")


@test("man_page_client_runs")
def _():
    bed()
    b = Bus()
    add(b, domain="web")
    with open(os.path.join(TOP, "man/org.vnicd1.5"), encoding="utf-8") as f:
        source = re.search(r"\.Bd -literal\n(#!/usr/bin/python3\n.*?)\.Ed\n", f.read(), re.S).group(1)
    with subprocess.Popen(["/usr/bin/python3", "-B", "-c", source], stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout.readline().split() == ["web", mac(1), "gold", "ready"]
        # It reads its list before its loop turns; the release comes after that.
        release_all(b)
        text = p.stdout.read()
        assert p.wait(10) == 0
    name = path().rsplit("/", maxsplit=1)[-1]
    assert text.splitlines()[-1] == f"{name} is gone", text


@test("daemon_restart_keeps_ports")
def _():
    v = bed()
    add(Bus(), domain="web")
    before = ports(Bus())[key()]
    v.daemon.kill()
    p = ctl("port", check=False)
    assert p.returncode == 3 and "systemctl start vnicd" in p.stderr, p.stderr
    p = ctl("-j", "status", check=False)
    assert p.returncode == 3 and valid(p.stdout)["error"]["code"] == "DaemonDown"
    # A person asks what is wrong, and is told all that can be seen without vnicd.
    p = ctl("diagnose", check=False)
    assert p.returncode == 1 and "vnicd does not run" in p.stdout and "on record" in p.stdout, p.stdout
    assert "ok       datapath      vnicd-datapath runs" in p.stdout, p.stdout
    v.daemon.start()
    b = Bus()
    after = ports(b)[key()]
    assert after["Generation"] == before["Generation"] and after["Socket"] == before["Socket"]
    wait_for("ready", lambda: ports(b)[key()]["State"] == "ready")
    release_all(b)


@test("a_name_cut_within_a_character_is_told")
def _():
    bed()
    b = Bus()
    add(b, domain="a" * 63 + "\u00e9")
    try:
        add(b)
        raise AssertionError("a key that is taken was given again")
    except DBusError as e:
        assert e.code == "Busy" and "a" * 63 + "?" in str(e), e
    release_all(b)


@test("name_is_taken_once")
def _():
    bed()
    # Root may ask for the name, and is told that it is taken.
    assert Bus().driver("RequestName", "su", "org.vnicd1", 4) == [3]


@test("nothing_is_left")
def _():
    v = bed()
    release_all(Bus())
    v.stop()
    links = run("ip", "-o", "link")
    assert "vn0-" not in links, links
    assert not os.listdir("/run/vnicd/ports")


main()
