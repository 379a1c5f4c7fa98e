/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is wrong in a domain's XML, said before its start; and that the hook refuses what it says. */
#include "tests/unit/domain_xml.h"

#include <string.h>

#include "base/json.h"
#include "libvirt-hook/domain_check.h"
#include "libvirt-hook/domain_json.h"
#include "libvirt-hook/hook.h"

/* Runs the check; @codes: the findings' codes in order, with commas. Returns them for more asserts. */
static struct findings expect(const char *body, const char *codes)
{
	static const char *const classes[] = { "gold", "silver" };
	_cleanup_(domain_freep) struct domain *d = NULL;
	struct findings f;
	char xml[4096], got[512] = "";

	snprintf(xml, sizeof(xml), HEAD "%s</domain>", body);
	d = parse(xml);
	assert_int_equal(domain_check(d, classes, ARRAY_SIZE(classes), &f), 0);
	for (size_t i = 0; i < f.n; i++) {
		strcat(got, i ? "," : "");
		strcat(got, f.list[i].code);
		assert_non_null(f.list[i].message);
	}
	assert_string_equal(got, codes);
	return f;
}

static void check_good(void **state)
{
	struct findings f = expect(DEVICES(GOOD(MAC1, SOCK("a")) GOOD(MAC2, SOCK("b"))), "");

	(void)state;
	findings_deinit(&f);
	assert_int_equal(f.n, 0);
}

static void check_nothing_of_ours(void **state)
{
	struct findings f = expect("<devices><interface type='user'/></devices>", "NoInterface");

	(void)state;
	assert_int_equal(f.list[0].severity, FINDING_INFO);
	findings_deinit(&f);
}

static void check_memory_and_balloon(void **state)
{
	struct findings f =
		expect("<devices>" GOOD(MAC1, SOCK("a")) "</devices>", "NoSharedMemory,Memballoon");

	(void)state;
	assert_int_equal(f.list[0].severity, FINDING_ERROR);
	assert_non_null(strstr(f.list[0].fix, "<access mode='shared'/>"));
	assert_int_equal(f.list[1].severity, FINDING_INFO);
	assert_string_equal(finding_severity_str(f.list[1].severity), "info");
	findings_deinit(&f);
	f = expect("<memoryBacking><access mode='shared'/></memoryBacking><devices>" GOOD(
			   MAC1, SOCK("a")) NOBALL "</devices>",
		   "FileBackedMemory");
	findings_deinit(&f);
}

static void check_each_slip(void **state)
{
	static const struct {
		const char *nic, *codes;
	} rows[] = {
		{ NIC(MAC1, SOCK("a"), "server", RECON, "<model type='virtio'/>"),
		  "NotClientMode" },
		{ NIC(MAC1, SOCK("a"), "client", "", "<model type='virtio'/>"), "NoReconnect" },
		{ NIC(MAC1, SOCK("a"), "client", "<reconnect enabled='no'/>",
		      "<model type='virtio'/>"),
		  "NoReconnect" },
		{ NIC(MAC1, SOCK("a"), "client", "<reconnect enabled='yes' timeout='0'/>",
		      "<model type='virtio'/>"),
		  "NoReconnect" },
		{ NIC(MAC1, SOCK("a"), "client", RECON, "<model type='e1000'/>"), "NotVirtio" },
		{ NIC(MAC1, SOCK("a"), "client", RECON, ""), "NotVirtio" },
		{ NIC(MAC1, SOCK("a"), "client", RECON,
		      "<model type='virtio'/><driver queues='9'/>"),
		  "TooManyQueues" },
		{ NIC(MAC1, SOCK("a"), "client", RECON,
		      "<model type='virtio'/><driver queues='8'/>"),
		  "" },
		{ GOOD(MAC1, "/run/vnicd/sock/bronze/a.sock"), "UnknownClass" },
		{ GOOD(MAC1, "/run/vnicd/sock/gold"), "BadSocketPath" },
		{ GOOD(MAC1, "/run/vnicd/sock/gold/a"), "BadSocketPath" },
		{ GOOD(MAC1, "/var/run/vnicd/sock/gold/a.sock"), "BadSocketPath" },
		{ GOOD(MAC1, "//run//vnicd/sock/gold/a.sock"), "BadSocketPath" },
		{ GOOD("00:00:00:00:00:00", SOCK("a")), "InvalidMac" },
		{ GOOD("01:00:5e:00:00:01", SOCK("a")), "InvalidMac" },
		{ "<interface type='vhostuser'><source type='unix' path='" SOCK(
			  "a") "' mode='client'>" RECON
			       "</source><model type='virtio'/></interface>",
		  "MissingMac" },
		{ GOOD(MAC1, SOCK("a")) GOOD(MAC1, SOCK("b")), "DuplicateMac" },
		{ GOOD(MAC1, SOCK("a")) "<interface type='user'><mac address='" MAC1
					"'/></interface>",
		  "DuplicateMac" },
		{ "<interface type='user'><mac address='" MAC1
		  "'/></interface>" GOOD(MAC1, SOCK("a")),
		  "DuplicateMac" },
		{ GOOD(MAC1, SOCK("a")) GOOD(MAC2, SOCK("a")), "DuplicateSocket" },
		/* Both vnicd's: a port is known by its MAC. */
		{ NIC(MAC1, SOCK("a"), "client", RECON,
		      "<model type='virtio'/><teaming type='persistent'/>")
			  NIC(MAC1, SOCK("b"), "client", RECON,
			      "<model type='virtio'/><teaming type='transient' "
			      "persistent='ua-x'/>"),
		  "DuplicateMac" },
		{ NIC(MAC1, SOCK("a"), "client", RECON,
		      "<model type='virtio'/><teaming type='persistent'/>") "<interface "
									    "type='hostdev'><mac "
									    "address='" MAC1
									    "'/><teaming "
									    "type='transient' "
									    "persistent='ua-x'/></"
									    "interface>",
		  "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct findings f;
		char xml[3000];

		snprintf(xml, sizeof(xml), DEVICES("%s"), rows[i].nic);
		f = expect(xml, rows[i].codes);
		for (size_t k = 0; k < f.n; k++)
			assert_int_equal(f.list[k].severity, FINDING_ERROR);
		findings_deinit(&f);
	}
}

#define VDPA(mac, dev, rest)                                                               \
	"<interface type='vdpa'><mac address='" mac "'/><source dev='" dev "'/>" rest "</" \
	"interface>"

static void check_vdpa(void **state)
{
	static const struct {
		const char *nic, *codes;
	} rows[] = {
		{ VDPA(MAC1, "/run/vnicd/vdpa/gold/a", "<model type='virtio'/>"), "LockedMemory" },
		{ VDPA(MAC1, "/run/vnicd/vdpa/gold/a", ""), "LockedMemory" },
		{ VDPA(MAC1, "/run/vnicd/vdpa/gold/a", "<model type='e1000'/>"),
		  "LockedMemory,NotVirtio" },
		{ VDPA(MAC1, "/run/vnicd/vdpa/gold/a", "<driver queues='9'/>"),
		  "LockedMemory,TooManyQueues" },
		{ VDPA(MAC1, "/run/vnicd/vdpa/bronze/a", ""), "LockedMemory,UnknownClass" },
		{ VDPA(MAC1, "/run/vnicd/vdpa/gold/a.b/c", ""), "LockedMemory,BadDevicePath" },
		{ VDPA(MAC1, "/run/vnicd/vdpa/gold", ""), "LockedMemory,BadDevicePath" },
		{ VDPA(MAC1, "/var/run/vnicd/vdpa/gold/a", ""), "BadDevicePath" },
		{ VDPA(MAC1, "/dev/vhost-vdpa-0", ""), "NoInterface" },
		{ "<interface type='vdpa'><source dev='/run/vnicd/vdpa/gold/a'/></interface>",
		  "LockedMemory,MissingMac" },
		{ VDPA(MAC1, "/run/vnicd/vdpa/gold/a", "") VDPA(MAC2, "/run/vnicd/vdpa/gold/a", ""),
		  "LockedMemory,DuplicateSocket" },
		{ VDPA(MAC1, "/run/vnicd/vdpa/gold/a", "") GOOD(MAC2, SOCK("a")),
		  "NoSharedMemory,LockedMemory" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct findings f;
		char xml[3000];

		snprintf(xml, sizeof(xml), "<devices>%s" NOBALL "</devices>", rows[i].nic);
		f = expect(xml, rows[i].codes);
		findings_deinit(&f);
	}
	{
		struct findings f =
			expect("<devices>" VDPA(MAC1, "/run/vnicd/vdpa/gold/a", "") "</devices>",
			       "LockedMemory,Memballoon");

		assert_int_equal(f.list[1].severity, FINDING_WARNING);
		assert_non_null(strstr(f.list[1].fix, "model='none'"));
		findings_deinit(&f);
	}
}

static void check_overrides(void **state)
{
	struct findings f =
		expect(PORTS("<v:port mac='" MAC1 "'/>") DEVICES(GOOD(MAC1, SOCK("a"))), "");

	(void)state;
	findings_deinit(&f);
	f = expect(PORTS("<v:port mac='" MAC2 "'/>") DEVICES(
			   GOOD(MAC1, SOCK("a")) "<interface type='user'><mac address='" MAC2
						 "'/></interface>"),
		   "UnmatchedOverride");
	assert_true(f.list[0].has_mac);
	assert_int_equal(f.list[0].mac[5], 2);
	findings_deinit(&f);
	f = expect(PORTS("<v:port mac='" MAC1 "'/><v:port mac='" MAC1 "'/>")
			   DEVICES(GOOD(MAC1, SOCK("a"))),
		   "DuplicateOverride");
	findings_deinit(&f);
}

#define HOSTDEV(mac, more)                             \
	"<interface type='hostdev'><mac address='" mac \
	"'/><source>" PCI("06", "1") "</source>" more "<alias name='hostdev0'/></interface>"

/* VFs that libvirt manages: their class is named in <vnic:ports>, and nothing that libvirt sets. */
static void check_classes_of_hostdevs(void **state)
{
	static const struct {
		const char *port, *nics, *codes;
	} rows[] = {
		{ "mac='" MAC2 "' class='gold' rate='2gbit'", HOSTDEV(MAC2, ""), "" },
		{ "mac='" MAC2 "' class='gold'",
		  "<interface type='network'><mac address='" MAC2
		  "'/><source network='vfs'/></interface>",
		  "" },
		{ "mac='" MAC2 "' class='tin'", HOSTDEV(MAC2, ""), "UnknownClass" },
		{ "mac='" MAC2 "' class='gold' vlan='12'", HOSTDEV(MAC2, ""), "MisplacedOverride" },
		{ "mac='" MAC2 "' class='gold' paths='sriov'", HOSTDEV(MAC2, ""),
		  "MisplacedOverride" },
		{ "mac='" MAC2 "' rate='2gbit'", HOSTDEV(MAC2, ""), "MissingClass" },
		{ "mac='" MAC1 "' class='gold'", HOSTDEV(MAC2, ""), "UnmatchedOverride" },
		{ "mac='" MAC2 "' class='gold'", GOOD(MAC2, SOCK("a")), "MisplacedClass" },
		{ "mac='" MAC2 "' class='gold'",
		  "<interface type='bridge'><mac address='" MAC2 "'/></interface>",
		  "UnmatchedOverride" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct findings f;
		char xml[3000];

		snprintf(xml, sizeof(xml), PORTS("<v:port %s/>") DEVICES("%s"), rows[i].port,
			 rows[i].nics);
		f = expect(xml, rows[i].codes);
		findings_deinit(&f);
	}
}

static void devices_are(const char *xml, bool unread, const char *json)
{
	_cleanup_(domain_freep) struct domain *d = parse(xml);
	_cleanup_(json_putp) struct json_object *o = domain_json_devices(d, unread);

	assert_string_equal(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), json);
}

/* What vnicd is told of the devices of a domain that runs. */
static void devices_and_their_classes(void **state)
{
#define VF_JSON(mac) "{\"address\":\"0000:06:10.1\",\"alias\":\"hostdev0\",\"mac\":\"" mac "\""
	(void)state;
	devices_are(
		HEAD PORTS("<v:port mac='" MAC2 "' class='gold' rate='2gbit'/>")
			DEVICES(HOSTDEV(MAC2, "") HOSTDEV(MAC1, "")) "</domain>",
		false,
		"[" VF_JSON(MAC2) ",\"class\":\"gold\",\"rate\":\"2gbit\"}," VF_JSON(MAC1) "}]");
	devices_are(HEAD PORTS("<v:port mac='" MAC2 "' class='gold' rate='fast'/>")
			    DEVICES(HOSTDEV(MAC2, "")) "</domain>",
		    false, "[" VF_JSON(MAC2) ",\"class\":\"gold\",\"unread\":true}]");
	/* The standby's, where that is ours. */
	devices_are(HEAD PORTS("<v:port mac='" MAC1 "' rate='1gbit' vlan='12'/>")
			    DEVICES(GOOD(MAC1, SOCK("a")) HOSTDEV(MAC1, "")) "</domain>",
		    false, "[" VF_JSON(MAC1) ",\"class\":\"gold\",\"rate\":\"1gbit\"}]");
	devices_are(HEAD DEVICES(HOSTDEV(MAC2, "")) "</domain>", true,
		    "[" VF_JSON(MAC2) ",\"unread\":true}]");
}

/* What a fix says to write is itself without findings. */
static void check_fixes_are_right(void **state)
{
	struct findings f = expect(DEVICES(NIC(MAC1, SOCK("a"), "server", "",
					       "<model type='e1000'/><driver queues='64'/>")),
				   "NotClientMode,NotVirtio,TooManyQueues");

	(void)state;
	for (size_t i = 0; i < f.n; i++) {
		char xml[2000];
		struct findings none;

		snprintf(xml, sizeof(xml), DEVICES("%s"), f.list[i].fix);
		none = expect(xml, "");
		findings_deinit(&none);
	}
	findings_deinit(&f);
}

static void unknown_class_names_the_known(void **state)
{
	_cleanup_(domain_freep) struct domain *d =
		parse(HEAD DEVICES(GOOD(MAC1, SOCK("a"))) "</domain>");
	char names[200][8];
	const char *many[200];
	struct findings f;

	(void)state;
	assert_int_equal(domain_check(d, many, 0, &f), 0);
	assert_non_null(strstr(f.list[0].message, "'gold'; known: none is configured"));
	findings_deinit(&f);
	/* Not known which there are: that is vnicd's to say. */
	assert_int_equal(domain_check(d, NULL, 0, &f), 0);
	assert_int_equal(f.n, 0);
	findings_deinit(&f);
	for (int i = 0; i < 200; i++) {
		sprintf(names[i], "c%d", i);
		many[i] = names[i];
	}
	assert_int_equal(domain_check(d, many, 200, &f), 0);
	assert_non_null(strstr(f.list[0].message, "known: c0, c1, "));
	assert_non_null(strstr(f.list[0].message, "..."));
	findings_deinit(&f);
}

/* The hook refuses what the check calls an error, in its words and with its fix, on one line. */
static void hook_refuses_what_check_finds(void **state)
{
	static const struct {
		const char *body, *words[3];
	} rows[] = {
		{ DEVICES(GOOD(MAC1, SOCK("a"))), { NULL } },
		{ DEVICES(GOOD(MAC1, "/run/vnicd/sock/bronze/a.sock")), { NULL } },
		{ "<devices><interface type='user'/></devices>", { NULL } },
		{ "<metadata><v:ports xmlns:v='urn:vnicd:1'/></metadata>", { NULL } },
		{ "<memoryBacking><access mode='shared'/></memoryBacking><devices>" GOOD(
			  MAC1, SOCK("a")) "</devices>",
		  { NULL } }, /* infos only */
		{ DEVICES(NIC(MAC1, SOCK("a"), "client", "", "<model type='virtio'/>")),
		  { "interface 1 (" MAC1 "): it has no <reconnect>",
		    "; write: <interface type='vhostuser'><mac address='" MAC1 "'/><source ",
		    "mode='client'><reconnect enabled='yes' timeout='1'/></source>" } },
		{ "<devices>" GOOD(MAC1, SOCK("a")) GOOD(MAC1, SOCK("a")) NOBALL "</devices>",
		  { "memory is not shared", "(and 2 more); see 'vnicctl domain check web'",
		    "; write: <memoryBacking><source type='memfd'/><access mode='shared'/>" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(domain_freep) struct domain *d = NULL;
		struct vnic_err err = VNIC_ERR_INIT;
		char xml[3000];

		snprintf(xml, sizeof(xml), HEAD "%s</domain>", rows[i].body);
		d = parse(xml);
		assert_int_equal(hook_check_domain(d, &err), rows[i].words[0] ? 1 : 0);
		for (size_t k = 0; k < 3 && rows[i].words[k]; k++)
			if (!strstr(err.message, rows[i].words[k]))
				print_error("no '%s' in: %s\n", rows[i].words[k], err.message),
					fail();
		assert_null(strchr(err.message, '\n'));
		assert_null(strchr(err.message, '?'));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_good),
		cmocka_unit_test(check_nothing_of_ours),
		cmocka_unit_test(check_memory_and_balloon),
		cmocka_unit_test(check_each_slip),
		cmocka_unit_test(check_vdpa),
		cmocka_unit_test(check_overrides),
		cmocka_unit_test(check_classes_of_hostdevs),
		cmocka_unit_test(devices_and_their_classes),
		cmocka_unit_test(check_fixes_are_right),
		cmocka_unit_test(unknown_class_names_the_known),
		cmocka_unit_test(hook_refuses_what_check_finds),
	};

	return cmocka_run_group_tests_name("domain_check", tests, NULL, NULL);
}
