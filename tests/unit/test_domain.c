/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's XML as libvirt writes it, and the hook's messages. */
#include "tests/unit/domain_xml.h"

#include <stdio.h>
#include <string.h>

#include "libvirt-hook/domain_json.h"
#include "libvirt-hook/hook.h"
#include "libvirt-hook/xml_write.h"

static void whole_domain(void **state)
{
	_cleanup_(domain_freep) struct domain *d = parse(
		"<?xml version='1.0'?><!-- x -->\n" HEAD
		"<metadata><other:x xmlns:other='urn:o'><deep/></other:x><v:ports "
		"xmlns:v='urn:vnicd:1'>"
		"<v:port mac='" MAC1 "' vlan='12' rate='2gbit' weight='7' paths='vdpa,software'/>"
		"<v:port mac='52:54:00:00:00:0A'/></v:ports></metadata>" SHARED
		"<cpu><model>x</model></cpu><devices><emulator>/usr/bin/qemu</emulator>"
		"<interface type='vhostuser'><mac address='" MAC1
		"'/><source type='unix' path='" SOCK(
			"a") "' mode='client'><reconnect enabled='yes' "
			     "timeout='3'/></source><target dev='v0'/>"
			     "<model type='virtio'/><driver queues='4'/><teaming "
			     "type='persistent'/><alias name='net0'/>"
			     "<address type='pci' domain='0x0000' bus='0x01' slot='0x00' "
			     "function='0x0'/></interface>\n"
			     "<interface type='hostdev' managed='yes'><source><address type='pci' "
			     "domain='0x0000' bus='0x06' "
			     "slot='0x1f' function='0x7'/></source><vlan><tag id='42'/><tag "
			     "id='43'/></vlan></interface>"
			     "<interface type='network'><source "
			     "network='default'/></interface>" NOBALL "</devices></domain>\n");
	const struct domain_nic *n = d->nics;
	char text[VNIC_MAC_STR], uuid[VNIC_UUID_STR];

	(void)state;
	assert_string_equal(d->name, "web");
	assert_string_equal(uuid_format(d->uuid, uuid), UUID);
	assert_true(domain_is_ours(d));
	assert_true(domain_has_shared_memory(d));
	assert_string_equal(d->memballoon, "none");
	assert_int_equal(d->n_nics, 3);
	assert_string_equal(n[0].type, "vhostuser");
	assert_string_equal(mac_format(n[0].mac, text), MAC1);
	assert_string_equal(n[0].source_path, SOCK("a"));
	assert_string_equal(n[0].source_mode, "client");
	assert_true(n[0].reconnect);
	assert_int_equal(n[0].reconnect_timeout, 3);
	assert_string_equal(n[0].model, "virtio");
	assert_int_equal(n[0].queues, 4);
	assert_string_equal(n[0].teaming, "persistent");
	assert_string_equal(n[0].alias, "net0");
	/* The guest's own PCI address is not the host's device. */
	assert_null(n[0].hostdev);
	assert_int_equal(n[0].line, 2);
	assert_string_equal(n[1].hostdev, "0000:06:1f.7");
	assert_int_equal(n[1].vlan, 42);
	assert_int_equal(n[1].n_vlans, 2);
	assert_false(n[1].has_mac);
	assert_int_equal(n[1].line, 3);
	assert_string_equal(n[2].network, "default");
	assert_int_equal(d->n_overrides, 2);
	assert_string_equal(d->overrides[0].vlan, "12");
	assert_string_equal(d->overrides[0].rate, "2gbit");
	assert_string_equal(d->overrides[0].weight, "7");
	assert_string_equal(d->overrides[0].paths, "vdpa,software");
	assert_null(d->overrides[1].vlan);
	assert_string_equal(mac_format(d->overrides[1].mac, text), "52:54:00:00:00:0a");
}

static void pci_devices(void **state)
{
	_cleanup_(domain_freep) struct domain *d = parse(
		HEAD
		"<devices><hostdev mode='subsystem' type='pci' managed='no'>"
		"<driver name='vfio'/><source>" PCI(
			"03",
			"6") "</source>"
			     "<teaming type='transient' persistent='ua-web'/><alias "
			     "name='ua-vnic-web'/>" PCI(
				     "01",
				     "0") "</hostdev>"
					  "<hostdev mode='subsystem' type='usb'><source><vendor "
					  "id='0x1'/>"
					  "<address bus='1' device='2'/></source><alias "
					  "name='usb'/></hostdev>"
					  "<hostdev mode='capabilities' "
					  "type='net'><source><interface>x</interface>"
					  "</source></hostdev>"
					  "<hostdev mode='subsystem' type='pci' "
					  "managed='yes'><source>" PCI(
						  "04",
						  "1") "</source></hostdev></devices></domain>");

	(void)state;
	assert_int_equal(d->n_hostdevs, 2);
	assert_string_equal(d->hostdevs[0].address, "0000:03:10.6");
	assert_string_equal(d->hostdevs[0].alias, "ua-vnic-web");
	assert_string_equal(d->hostdevs[0].standby, "ua-web");
	assert_string_equal(d->hostdevs[1].address, "0000:04:10.1");
	assert_null(d->hostdevs[1].alias);
	assert_null(d->hostdevs[1].standby);
	assert_int_equal(d->n_nics, 0);
}

/* Whatever somebody wrote there with `virsh metadata`: the guest has the device. */
static void devices_do_not_depend_on_metadata(void **state)
{
	static const char xml[] = HEAD
		"<metadata><v:ports xmlns:v='urn:vnicd:1'><v:port mac='x'/><v:y/></v:ports>"
		"<v:ports xmlns:v='urn:vnicd:2'/></metadata><devices><hostdev mode='subsystem' "
		"type='pci'><source>" PCI("03", "6") "</source></hostdev></devices></domain>";
	_cleanup_(domain_freep) struct domain *d = NULL;
	struct vnic_err err = VNIC_ERR_INIT;

	(void)state;
	assert_true(domain_xml_parse(xml, strlen(xml), &d, &err) < 0);
	assert_int_equal(domain_xml_parse_devices(xml, strlen(xml), &d, &err), 0);
	assert_int_equal(d->n_hostdevs, 1);
	assert_int_equal(d->n_overrides, 0);
	d = domain_free(d);
	assert_true(domain_xml_parse_devices("<network/>", 10, &d, &err) < 0);
}

static void pci_addresses_have_one_spelling(void **state)
{
	static const char *const good[] = { "0000:03:10.6", "0000:00:00.0", "0000:ff:1f.7",
					    "10000:01:00.0", "ffffffff:ff:1f.7" };
	static const char *const bad[] = { "",
					   "03:10.6",
					   "0:3:10.6",
					   "0000:03:10.8",
					   "0000:03:20.0",
					   "0000:03:10.6 ",
					   " 000:03:10.6",
					   "0000:0A:10.6",
					   "0x00:03:10.6",
					   "-001:03:10.6",
					   "00000:03:10.6",
					   "100000000:03:10.6",
					   "0000:03:10.6'/>",
					   "netdevsim1" };
	char text[PCI_ADDRESS_STR];
	struct pci_address a;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(pci_address_parse(good[i], &a), 0);
		assert_string_equal(pci_address_format(&a, text), good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (pci_address_parse(bad[i], &a) != -EINVAL)
			print_error("'%s' is taken\n", bad[i]), fail();
}

static void unknown_elements_do_no_harm(void **state)
{
	_cleanup_(domain_freep) struct domain *d =
		parse(HEAD "<name2>x</name2><new><interface type='x'/><uuid>y</uuid></new>"
			   "<devices><interface type='user'><new a='b'><mac address='zz'/></new>"
			   "</interface></devices></domain>");

	(void)state;
	assert_int_equal(d->n_nics, 1);
	assert_false(d->nics[0].has_mac);
	assert_false(domain_is_ours(d));
}

static void many_interfaces(void **state)
{
	char xml[16384] = HEAD "<devices>";
	_cleanup_(domain_freep) struct domain *d = NULL;

	(void)state;
	for (int i = 0; i < 100; i++)
		sprintf(xml + strlen(xml),
			"<interface type='t%d'><mac address='52:54:00:00:00:%02x'/></interface>", i,
			i);
	strcat(xml, "</devices></domain>");
	d = parse(xml);
	assert_int_equal(d->n_nics, 100);
	for (int i = 0; i < 100; i++)
		assert_int_equal(d->nics[i].mac[5], i);
}

static void shared_memory(void **state)
{
	static const struct {
		const char *xml;
		bool shared;
	} rows[] = {
		{ "", false },
		{ SHARED, true },
		{ "<memoryBacking><source type='memfd'/></memoryBacking>", false },
		{ "<memoryBacking><access mode='private'/></memoryBacking>", false },
		{ "<memoryBacking><hugepages/></memoryBacking>", false },
		{ "<memoryBacking><hugepages/><access mode='shared'/></memoryBacking>", true },
		{ "<cpu><numa><cell memAccess='shared'/></numa></cpu>", true },
		{ "<cpu><numa><cell memAccess='shared'/><cell/></numa></cpu>", false },
		{ SHARED "<cpu><numa><cell/><cell memAccess='shared'/></numa></cpu>", true },
		{ SHARED "<cpu><numa><cell/><cell memAccess='private'/></numa></cpu>", false },
		{ "<cpu><numa><cell memAccess='private'/></numa></cpu>", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(domain_freep) struct domain *d = NULL;
		char xml[1000];

		snprintf(xml, sizeof(xml), HEAD "%s</domain>", rows[i].xml);
		d = parse(xml);
		if (domain_has_shared_memory(d) != rows[i].shared)
			print_error("row %zu: %s\n", i, rows[i].xml), fail();
	}
}

static void sockets(void **state)
{
	static const char *const bad[] = {
		"",
		"/run/vnicd/sock/gold",
		"/run/vnicd/sock/gold/",
		"/run/vnicd/sock/gold/.sock",
		"/run/vnicd/sock/gold/web",
		"/run/vnicd/sock//web.sock",
		"/run/vnicd/sock/gold/x/web.sock",
		"/run/vnicd/sock/../web.sock",
		"/run/vnicd/sock/gold/../web.sock",
		"/run/vnicd/sock/go ld/web.sock",
		"/run/vnicd/sock/gold/web.sock ",
		"/run/vnicd/sockgold/web.sock",
		"/var/run/vnicd/sock/gold/web.sock",
		"/run/vnicd/sock/-gold/web.sock",
		"/run/vnicd/sock/gold5678901234567890123456789012345678901234567890/"
		"web456789012345678901234567890123456.sock",
		"/run/vnicd/sock/gold567890123456789012345678901234567890123456789012345678901234/"
		"w.sock",
	};
	char class_name[VNIC_NAME_MAX] = "-", name[VNIC_NAME_MAX] = "-";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (socket_split(bad[i], class_name, name) != -EINVAL)
			print_error("taken: %s\n", bad[i]), fail();
	assert_string_equal(class_name, "-");
	assert_int_equal(socket_split(SOCK("a.sock"), class_name, name), 0);
	assert_string_equal(class_name, "gold");
	assert_string_equal(name, "a.sock");
	/* 107 bytes are what a socket's path can have */
	assert_int_equal(
		socket_split("/run/vnicd/sock/gold5678901234567890123456789012345678901234567890/"
			     "web45678901234567890123456789012345.sock",
			     class_name, name),
		0);
}

static void written_xml_is_escaped(void **state)
{
	const char *hostile = "/a'/><x y=\"&amp;\"<>\n\t\x01";
	_cleanup_(freep) char *nic = xml_nic(NULL, hostile, 1);
	_cleanup_(freep) char *xml = NULL;
	_cleanup_(domain_freep) struct domain *d = NULL;

	(void)state;
	assert_true(asprintf(&xml, HEAD "<devices>%s</devices></domain>", nic) > 0);
	d = parse(xml);
	assert_int_equal(d->n_nics, 1);
	assert_string_equal(d->nics[0].source_path, "/a'/><x y=\"&amp;\"<>\n\t?");
}

/* What libvirt is told is what is read of it again. */
static void written_hostdev_is_read(void **state)
{
	struct pci_address a = { 0x10000, 3, 0x10, 6 };
	_cleanup_(freep) char *device = xml_hostdev(&a, "ua-vnic-web", "ua-web");
	_cleanup_(domain_freep) struct domain *d = NULL;
	_cleanup_(freep) char *xml = NULL;

	(void)state;
	assert_true(asprintf(&xml, HEAD "<devices>%s</devices></domain>", device) > 0);
	d = parse(xml);
	assert_int_equal(d->n_hostdevs, 1);
	assert_string_equal(d->hostdevs[0].address, "10000:03:10.6");
	assert_string_equal(d->hostdevs[0].alias, "ua-vnic-web");
	assert_string_equal(d->hostdevs[0].standby, "ua-web");
	assert_non_null(strstr(device, "managed='no'"));
	assert_non_null(strstr(device, "type='transient'"));
}

static void message_of_a_domain(void **state)
{
	_cleanup_(domain_freep) struct domain *d = parse(
		HEAD PORTS("<v:port mac='" MAC1 "' vlan='12'/><v:port mac='" MAC2
			   "' class='gold'/>")
			DEVICES(GOOD(MAC1,
				     SOCK("a")) "<interface type='user'><mac address='" MAC2
						"'/></interface><interface "
						"type='hostdev'><teaming type='transient' "
						"persistent='ua-x'/></interface>") "</domain>");
	_cleanup_(freep) char *message = NULL;

	(void)state;
	assert_int_equal(hook_message_domain("prepare", d, &message, NULL), 0);
	assert_string_equal(
		message,
		"{\"op\":\"prepare\",\"version\":1,\"domain\":{\"uuid\":\"" UUID
		"\",\"name\":\"web\",\"shared_memory\":true,\"pidfile\":\"/run/libvirt/qemu/"
		"web.pid\"},"
		"\"interfaces\":[{\"mac\":\"" MAC1 "\",\"type\":\"vhostuser\",\"socket\":\"" SOCK(
			"a") "\",\"mode\":\"client\",\"reconnect\":true,\"model\":\"virtio\","
			     "\"queues\":1,"
			     "\"teaming\":null,\"alias\":null},{\"mac\":\"" MAC2
			     "\",\"type\":\"user\"},"
			     "{\"type\":\"hostdev\",\"teaming\":\"transient\"}],"
			     "\"overrides\":[{\"mac\":\"" MAC1
			     "\",\"vlan\":\"12\"},{\"mac\":\"" MAC2 "\",\"class\":\"gold\"}]}");
}

/* The next start has it too, so a VF may be plugged in by it; net0 is whatever libvirt counts. */
static void only_an_alias_of_the_authors_is_told(void **state)
{
	static const struct {
		const char *alias, *told;
	} rows[] = { { "ua-web", "\"alias\":\"ua-web\"" },
		     { "net0", "\"alias\":null" },
		     { "ua-", "\"alias\":null" },
		     { "web", "\"alias\":null" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(domain_freep) struct domain *d = NULL;
		_cleanup_(freep) char *message = NULL, *xml = NULL;

		assert_true(asprintf(&xml,
				     HEAD
				     "<devices><interface type='vhostuser'><source type='unix' "
				     "path='" SOCK("a") "'/><teaming type='persistent'/>"
							"<alias name='%s'/></interface></devices>"
							"</domain>",
				     rows[i].alias) > 0);
		d = parse(xml);
		assert_int_equal(hook_message_domain("prepare", d, &message, NULL), 0);
		assert_non_null(strstr(message, rows[i].told));
		assert_non_null(strstr(message, "\"teaming\":\"persistent\""));
	}
}

static void message_of_a_network_port(void **state)
{
	static const char xml[] = "<hookData><network><name>vfs</name><uuid>x</uuid><forward "
				  "mode='hostdev'/></network>"
				  "<networkport><uuid>z</uuid><owner><name>web</name><uuid>" UUID
				  "</uuid></owner>"
				  "<mac address='" MAC1
				  "'/><plug type='hostdev-pci' managed='yes'><driver name='vfio'/>"
				  "<address domain='0x0000' bus='0x06' slot='0x10' "
				  "function='0x1'/></plug></networkport></hookData>";
	_cleanup_(network_port_freep) struct network_port *p = NULL;
	_cleanup_(freep) char *message = NULL;

	(void)state;
	assert_int_equal(network_port_parse(xml, strlen(xml), &p, NULL), 0);
	assert_string_equal(p->plug, "hostdev-pci");
	assert_int_equal(hook_message_port("port-created", p, &message, NULL), 0);
	assert_string_equal(
		message,
		"{\"op\":\"port-created\",\"version\":1,\"domain\":{\"uuid\":\"" UUID
		"\",\"name\":\"web\",\"shared_memory\":false,\"pidfile\":\"/run/libvirt/qemu/"
		"web.pid\"},"
		"\"network\":\"vfs\",\"interfaces\":[{\"mac\":\"" MAC1
		"\",\"type\":\"hostdev\",\"address\":\"0000:06:10.1\"}],\"overrides\":[]}");
}

static void network_events_without_port(void **state)
{
	static const char xml[] = "<hookData><network><name>vfs</name></network></hookData>";
	_cleanup_(network_port_freep) struct network_port *p = NULL;

	(void)state;
	assert_int_equal(network_port_parse(xml, strlen(xml), &p, NULL), 0);
	assert_string_equal(p->network, "vfs");
	assert_null(p->plug);
	assert_null(p->nic.hostdev);
}

static void answers(void **state)
{
	static const char ok[] = "{\"ok\":true,\"ports\":[]}";
	static const char error[] =
		"{\"error\":{\"code\":\"UnknownClass\",\"message\":\"no class 'x'\"}}";
	struct vnic_err err = VNIC_ERR_INIT;

	(void)state;
	assert_int_equal(hook_answer(ok, strlen(ok), &err), 0);
	assert_int_equal(hook_answer(error, strlen(error), &err), 1);
	assert_string_equal(err.code, "UnknownClass");
	assert_string_equal(err.message, "no class 'x'");
}

/* api/hook.md's table of outcomes */
static void operations(void **state)
{
	static const struct {
		enum hook_kind kind;
		const char *name;
		bool fail_on_error, fail_on_silence;
	} rows[] = {
		{ HOOK_QEMU, "prepare", 1, 1 },		{ HOOK_QEMU, "start", 1, 1 },
		{ HOOK_QEMU, "migrate", 1, 1 },		{ HOOK_QEMU, "restore", 1, 1 },
		{ HOOK_QEMU, "started", 1, 0 },		{ HOOK_QEMU, "stopped", 0, 0 },
		{ HOOK_QEMU, "release", 0, 0 },		{ HOOK_QEMU, "reconnect", 0, 0 },
		{ HOOK_NETWORK, "port-created", 1, 0 }, { HOOK_NETWORK, "port-deleted", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct hook_op *op = hook_op_find(rows[i].kind, rows[i].name);

		assert_non_null(op);
		assert_int_equal(op->fail_on_error, rows[i].fail_on_error);
		assert_int_equal(op->fail_on_silence, rows[i].fail_on_silence);
		assert_int_equal(op->deadline_ms, i < 5 ? 20000 : 5000);
	}
	assert_null(hook_op_find(HOOK_QEMU, "attach"));
	assert_null(hook_op_find(HOOK_QEMU, ""));
	assert_null(hook_op_find(HOOK_NETWORK, "start"));
	assert_null(hook_op_find(HOOK_NETWORK, "started"));
}

static void kind_by_path(void **state)
{
	(void)state;
	assert_int_equal(hook_kind_of("/etc/libvirt/hooks/qemu.d/vnicd"), HOOK_QEMU);
	assert_int_equal(hook_kind_of("/etc/libvirt/hooks/network.d/vnicd"), HOOK_NETWORK);
	assert_int_equal(hook_kind_of("network.d/vnicd"), HOOK_NETWORK);
	assert_int_equal(hook_kind_of("/x/mynetwork.d/vnicd"), HOOK_QEMU);
	assert_int_equal(hook_kind_of("vnicd"), HOOK_QEMU);
	assert_int_equal(hook_kind_of(""), HOOK_QEMU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_domain),
		cmocka_unit_test(pci_devices),
		cmocka_unit_test(devices_do_not_depend_on_metadata),
		cmocka_unit_test(pci_addresses_have_one_spelling),
		cmocka_unit_test(unknown_elements_do_no_harm),
		cmocka_unit_test(many_interfaces),
		cmocka_unit_test(shared_memory),
		cmocka_unit_test(sockets),
		cmocka_unit_test(written_xml_is_escaped),
		cmocka_unit_test(written_hostdev_is_read),
		cmocka_unit_test(message_of_a_domain),
		cmocka_unit_test(only_an_alias_of_the_authors_is_told),
		cmocka_unit_test(message_of_a_network_port),
		cmocka_unit_test(network_events_without_port),
		cmocka_unit_test(answers),
		cmocka_unit_test(operations),
		cmocka_unit_test(kind_by_path),
	};

	return cmocka_run_group_tests_name("domain", tests, NULL, NULL);
}
