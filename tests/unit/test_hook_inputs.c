/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XML that the hook refuses: the rows "unit" of tests/tables/hook-inputs.md. Each has its clear error. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "api/errors.h"
#include "libvirt-hook/hook.h"
#include "tests/unit/hook_table.h"

#define UUID  "<uuid>6ecd5f50-1712-4b9b-ba6c-dd77b83b4ab5</uuid>"
#define HEAD  "<domain type='qemu'><name>web</name>" UUID
#define TAIL  "</domain>"
#define PORTS "<metadata><vnic:ports xmlns:vnic='urn:vnicd:1'>"
#define MAC   "52:54:00:00:00:01"

/* Parse @size bytes; they must fail with @error and @code, and each of @words in the message. */
static void refused_bytes(const char *xml, size_t size, int error, const char *code,
			  const char *words)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct domain *d = NULL;
	char copy[300], *word, *save = NULL;

	assert_int_equal(domain_xml_parse(xml, size, &d, &err), error);
	assert_null(d);
	assert_string_equal(err.code, code);
	assert_true(strlen(words) < sizeof(copy));
	strcpy(copy, words);
	for (word = strtok_r(copy, "|", &save); word; word = strtok_r(NULL, "|", &save))
		if (!strstr(err.message, word))
			print_error("'%s' is not in: %s\n", word, err.message), fail();
}

static void refused(const char *xml, const char *words)
{
	refused_bytes(xml, strlen(xml), -EBADMSG, VNIC_E_INVALID_XML, words);
}

#define ROW(name, xml, words)          \
	static void name(void **state) \
	{                              \
		(void)state;           \
		refused(xml, words);   \
	}

ROW(billion_laughs,
    "<!DOCTYPE d [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;'>]>"
    "<domain><name>&c;</name>" UUID TAIL,
    "line 1|DOCTYPE")
ROW(external_entity,
    "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/shadow'>]><domain><name>&x;</name>" UUID TAIL,
    "DOCTYPE")
ROW(external_dtd, "<!DOCTYPE domain SYSTEM 'http://192.0.2.1/x.dtd'>" HEAD TAIL, "DOCTYPE")
ROW(parameter_entity, "<!DOCTYPE d [<!ENTITY % p SYSTEM 'file:///dev/zero'>%p;]>" HEAD TAIL,
    "DOCTYPE")
ROW(doctype_alone, "<!DOCTYPE domain>" HEAD TAIL, "DOCTYPE")
ROW(undefined_entity, "<domain><name>&x;</name>" UUID TAIL, "undefined entity")
ROW(empty_input, "", "no element found")
ROW(not_xml, "prepare begin", "line 1|not well-formed")
ROW(text_behind_root, HEAD TAIL "\n\n<domain/>", "line 3|junk after document element")
ROW(duplicate_attribute, HEAD "<devices><interface type='a' type='b'/></devices>" TAIL,
    "duplicate attribute")
ROW(unclosed_element, HEAD "<devices></domain>", "mismatched tag")
ROW(other_root, "<network><name>x</name></network>", "root is <network>|not <domain>")
ROW(hookdata_as_domain, "<hookData><network><name>x</name></network></hookData>",
    "root is <hookData>")
ROW(root_in_a_namespace, "<domain xmlns='urn:x'/>", "root is <domain>")
ROW(no_uuid, "<domain><name>web</name></domain>", "lacks <uuid>")
ROW(no_name, "<domain>" UUID "</domain>", "lacks <name>")
ROW(bad_uuid, "<domain><name>web</name><uuid>6ecd5f50</uuid></domain>", "'6ecd5f50' is not a UUID")
ROW(two_uuids, HEAD UUID TAIL, "<uuid> is given twice")
ROW(two_names, HEAD "<name>b</name>" TAIL, "<name> is given twice")
ROW(name_with_slash, "<domain><name>../../etc/x</name>" UUID TAIL, "without '/'")
ROW(empty_name, "<domain><name/>" UUID TAIL, "<name> ''")
ROW(queues_not_a_number,
    HEAD "<devices><interface><driver queues='two'/></interface></devices>" TAIL,
    "queues='two'|not a number")
ROW(queues_overflow,
    HEAD "<devices><interface><driver queues='99999999999999999999'/></interface></devices>" TAIL,
    "not a number")
ROW(reconnect_timeout_negative,
    HEAD "<devices><interface><source><reconnect enabled='yes' timeout='-1'/></source></interface>"
	 "</devices>" TAIL,
    "<reconnect timeout='-1'")
ROW(two_macs,
    HEAD "<devices><interface><mac address='" MAC "'/><mac address='" MAC
	 "'/></interface></devices>" TAIL,
    "<mac address= is given twice")
ROW(two_sockets,
    HEAD "<devices><interface type='vhostuser'><source path='/a'/><source path='/b'/></interface>"
	 "</devices>" TAIL,
    "<source path= is given twice")
ROW(pci_address_out_of_range,
    HEAD "<devices><interface type='hostdev'><source><address type='pci' domain='0' bus='0x100' "
	 "slot='0' function='0'/></source></interface></devices>" TAIL,
    "bus='0x100'|PCI address")
ROW(pci_address_not_hex,
    HEAD "<devices><interface type='hostdev'><source><address domain='0' bus='../0' slot='0' "
	 "function='0'/></source></interface></devices>" TAIL,
    "bus='../0'")
ROW(override_unknown_attribute,
    HEAD PORTS "<vnic:port mac='" MAC "' vlna='12'/></vnic:ports></metadata>" TAIL,
    "unknown attribute 'vlna'|known are mac, class, vlan")
ROW(override_prefixed_attribute,
    HEAD PORTS "<vnic:port mac='" MAC "' vnic:vlan='12'/></vnic:ports></metadata>" TAIL,
    "unknown attribute 'vlan'")
ROW(override_class,
    HEAD PORTS "<vnic:port mac='" MAC "' class='a/b'/></vnic:ports></metadata>" TAIL,
    "class='a/b'|A-Z a-z 0-9")
ROW(override_without_mac, HEAD PORTS "<vnic:port vlan='1'/></vnic:ports></metadata>" TAIL,
    "lacks mac=")
ROW(override_foreign_element, HEAD PORTS "<vnic:prot mac='" MAC "'/></vnic:ports></metadata>" TAIL,
    "<prot> within <vnic:ports>")
ROW(override_without_prefix, HEAD PORTS "<port mac='" MAC "'/></vnic:ports></metadata>" TAIL,
    "<port> within <vnic:ports>")
ROW(override_nested,
    HEAD PORTS "<vnic:port mac='" MAC "'><vnic:port mac='" MAC
	       "'/></vnic:port></vnic:ports></metadata>" TAIL,
    "<port> within")
ROW(override_outside_metadata,
    HEAD "<devices><vnic:ports xmlns:vnic='urn:vnicd:1'/></devices>" TAIL,
    "<vnic:ports> does not belong here|<metadata>")
ROW(override_without_ports,
    HEAD "<metadata><vnic:port xmlns:vnic='urn:vnicd:1' mac='" MAC "'/></metadata>" TAIL,
    "<vnic:port> does not belong here")
ROW(override_other_version, HEAD "<metadata><v:ports xmlns:v='urn:vnicd:2'/></metadata>" TAIL,
    "urn:vnicd:2|urn:vnicd:1")
ROW(ports_attribute, HEAD "<metadata><v:ports xmlns:v='urn:vnicd:1' vlan='1'/></metadata>" TAIL,
    "no attribute 'vlan'")
ROW(undeclared_prefix, HEAD "<metadata><vnic:ports/></metadata>" TAIL, "unbound prefix")

static void mac_malformed(void **state)
{
	static const char *const macs[] = { "",
					    "52:54:00",
					    "52:54:00:00:00:0g",
					    "52-54-00-00-00-01",
					    "52:54:00:00:00:01 ",
					    "52:54:00:00:00:01:02" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(macs); i++) {
		_cleanup_(freep) char *xml = NULL;

		assert_true(asprintf(&xml,
				     HEAD "<devices><interface><mac address='%s'/></interface>"
					  "</devices>" TAIL,
				     macs[i]) > 0);
		refused_bytes(xml, strlen(xml), -EBADMSG, VNIC_E_INVALID_MAC,
			      "<mac address=|not a MAC address like");
	}
}

static void override_bad_mac(void **state)
{
	const char *xml = HEAD PORTS
		"<vnic:port mac='52:54:0:0:0:1'/></vnic:ports></metadata>" TAIL;

	(void)state;
	refused_bytes(xml, strlen(xml), -EBADMSG, VNIC_E_INVALID_MAC,
		      "<vnic:port mac=|52:54:0:0:0:1");
}

static void nul_byte(void **state)
{
	static const char xml[] = "<domain><name>web\0evil</name>" UUID TAIL;

	(void)state;
	refused_bytes(xml, sizeof(xml) - 1, -EBADMSG, VNIC_E_INVALID_XML, "NUL byte");
}

static void invalid_utf8(void **state)
{
	(void)state;
	refused("<domain><name>\xff\xfe</name>" UUID TAIL, "not well-formed");
	refused("<domain><name>\xc0\xaf</name>" UUID TAIL, "not well-formed");
}

static void other_encoding(void **state)
{
	static const char utf16[] = "\xff\xfe<\0d\0/\0>\0";

	(void)state;
	refused_bytes(utf16, sizeof(utf16) - 1, -EBADMSG, VNIC_E_INVALID_XML, "NUL byte");
}

static void truncated_at_each_byte(void **state)
{
	static const char xml[] = HEAD PORTS
		"<vnic:port mac='" MAC "' vlan='12'/></vnic:ports></metadata><devices><interface "
		"type='vhostuser'><mac address='" MAC "'/></interface></devices>" TAIL;

	(void)state;
	for (size_t n = 0; n < sizeof(xml) - 1; n++) {
		/* An exact copy, so that a sanitizer sees a read behind it. */
		_cleanup_(freep) char *part = malloc(n + 1);
		struct domain *d = NULL;

		memcpy(part, xml, n);
		assert_int_equal(domain_xml_parse(part, n, &d, NULL), -EBADMSG);
		assert_null(d);
	}
}

/* @n times @item between @before and @after. */
static char *repeated(const char *before, const char *item, size_t n, const char *after)
{
	size_t len = strlen(item), size = strlen(before) + n * len + strlen(after) + 1;
	char *buf = malloc(size), *p = stpcpy(buf, before);

	for (size_t i = 0; i < n; i++)
		p = stpcpy(p, item);
	strcpy(p, after);
	return buf;
}

static void too_deep(void **state)
{
	_cleanup_(freep) char *deep = repeated(HEAD, "<x>", 1000, "");
	_cleanup_(freep) char *open = repeated("", "<domain>", 100000, "");

	(void)state;
	refused(deep, "nested deeper than 255");
	refused(open, "nested deeper than 255");
}

static void too_many_interfaces(void **state)
{
	_cleanup_(freep) char *xml =
		repeated(HEAD "<devices>", "<interface type='user'/>", 1025, "</devices>" TAIL);

	(void)state;
	refused(xml, "more than 1024 interfaces");
}

static void too_many_overrides(void **state)
{
	_cleanup_(freep) char *xml = repeated(HEAD PORTS, "<vnic:port mac='" MAC "'/>", 1025,
					      "</vnic:ports></metadata>" TAIL);

	(void)state;
	refused(xml, "more than 1024 <vnic:port>");
}

static void value_too_long(void **state)
{
	_cleanup_(freep) char *attr =
		repeated(HEAD "<devices><interface type='", "v", 1025, "'/></devices>" TAIL);
	_cleanup_(freep) char *text = repeated("<domain><name>", "n", 100000, "</name>" UUID TAIL);
	_cleanup_(freep) char *name = repeated("<domain><name>", "n", 252, "</name>" UUID TAIL);

	(void)state;
	refused(attr, "<interface type=|longer than 1024");
	refused(text, "longer than 1024");
	refused(name, "not 1 to 251 bytes");
}

static void larger_than_4_mib(void **state)
{
	_cleanup_(freep) char *xml = repeated(HEAD, " ", DOMAIN_XML_MAX, TAIL);

	(void)state;
	refused_bytes(xml, strlen(xml), -E2BIG, VNIC_E_INVALID_XML, "larger than 4 MiB");
}

static void control_characters_in_messages(void **state)
{
	struct vnic_err err = VNIC_ERR_INIT;
	const char *xml = HEAD PORTS
		"<vnic:port mac='&#27;[2J&#10;x'/></vnic:ports></metadata>" TAIL;
	struct domain *d;

	(void)state;
	/* ESC is no XML character at all; a newline is, and must not break the message's line. */
	refused(xml, "reference to invalid character number");
	xml = HEAD PORTS "<vnic:port mac='&#10;vnicd: ok'/></vnic:ports></metadata>" TAIL;
	assert_int_equal(domain_xml_parse(xml, strlen(xml), &d, &err), -EBADMSG);
	assert_null(strchr(err.message, '\n'));
}

/* hookData */

static void refused_hookdata(const char *xml, const char *code, const char *word)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct network_port *p = NULL;

	assert_int_equal(network_port_parse(xml, strlen(xml), &p, &err), -EBADMSG);
	assert_null(p);
	assert_string_equal(err.code, code);
	assert_non_null(strstr(err.message, word));
}

static void hookdata_without_network(void **state)
{
	(void)state;
	refused_hookdata("<hookData/>", VNIC_E_INVALID_XML, "lacks <network><name>");
}

static void hookdata_without_owner(void **state)
{
	(void)state;
	refused_hookdata("<hookData><network><name>n</name></network><networkport>"
			 "<plug type='hostdev-pci'/></networkport></hookData>",
			 VNIC_E_INVALID_XML, "lacks <uuid> in <owner>");
}

static void hookdata_bad_mac(void **state)
{
	(void)state;
	refused_hookdata("<hookData><network><name>n</name></network><networkport>"
			 "<mac address='x'/></networkport></hookData>",
			 VNIC_E_INVALID_MAC, "'x'");
}

static void hookdata_with_doctype(void **state)
{
	(void)state;
	refused_hookdata("<!DOCTYPE x><hookData/>", VNIC_E_INVALID_XML, "DOCTYPE");
}

static void domain_as_hookdata(void **state)
{
	(void)state;
	refused_hookdata(HEAD TAIL, VNIC_E_INVALID_XML, "root is <domain>");
}

static void message_too_large(void **state)
{
	_cleanup_(freep) char *xml =
		repeated(HEAD PORTS "</vnic:ports></metadata><devices>",
			 "<interface type='vhostuser'><mac address='" MAC "'/><source type='unix' "
			 "path='/run/vnicd/sock/gold/web.sock' mode='client'/></interface>",
			 500, "</devices>" TAIL);
	_cleanup_(domain_freep) struct domain *d = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	char *message = NULL;

	(void)state;
	assert_int_equal(domain_xml_parse(xml, strlen(xml), &d, &err), 0);
	assert_int_equal(hook_message_domain("prepare", d, &message, &err), -EMSGSIZE);
	assert_null(message);
	assert_string_equal(err.code, VNIC_E_LIMIT);
	assert_non_null(strstr(err.message, "vnicd takes 65536"));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(billion_laughs),
	cmocka_unit_test(external_entity),
	cmocka_unit_test(external_dtd),
	cmocka_unit_test(parameter_entity),
	cmocka_unit_test(doctype_alone),
	cmocka_unit_test(undefined_entity),
	cmocka_unit_test(empty_input),
	cmocka_unit_test(not_xml),
	cmocka_unit_test(text_behind_root),
	cmocka_unit_test(duplicate_attribute),
	cmocka_unit_test(unclosed_element),
	cmocka_unit_test(truncated_at_each_byte),
	cmocka_unit_test(nul_byte),
	cmocka_unit_test(invalid_utf8),
	cmocka_unit_test(other_encoding),
	cmocka_unit_test(control_characters_in_messages),
	cmocka_unit_test(larger_than_4_mib),
	cmocka_unit_test(too_deep),
	cmocka_unit_test(too_many_interfaces),
	cmocka_unit_test(too_many_overrides),
	cmocka_unit_test(value_too_long),
	cmocka_unit_test(message_too_large),
	cmocka_unit_test(other_root),
	cmocka_unit_test(hookdata_as_domain),
	cmocka_unit_test(root_in_a_namespace),
	cmocka_unit_test(no_uuid),
	cmocka_unit_test(bad_uuid),
	cmocka_unit_test(two_uuids),
	cmocka_unit_test(no_name),
	cmocka_unit_test(empty_name),
	cmocka_unit_test(two_names),
	cmocka_unit_test(name_with_slash),
	cmocka_unit_test(mac_malformed),
	cmocka_unit_test(two_macs),
	cmocka_unit_test(two_sockets),
	cmocka_unit_test(queues_not_a_number),
	cmocka_unit_test(queues_overflow),
	cmocka_unit_test(reconnect_timeout_negative),
	cmocka_unit_test(pci_address_out_of_range),
	cmocka_unit_test(pci_address_not_hex),
	cmocka_unit_test(override_unknown_attribute),
	cmocka_unit_test(override_prefixed_attribute),
	cmocka_unit_test(override_class),
	cmocka_unit_test(override_without_mac),
	cmocka_unit_test(override_bad_mac),
	cmocka_unit_test(override_foreign_element),
	cmocka_unit_test(override_without_prefix),
	cmocka_unit_test(override_nested),
	cmocka_unit_test(override_outside_metadata),
	cmocka_unit_test(override_without_ports),
	cmocka_unit_test(override_other_version),
	cmocka_unit_test(ports_attribute),
	cmocka_unit_test(undeclared_prefix),
	cmocka_unit_test(hookdata_without_network),
	cmocka_unit_test(hookdata_without_owner),
	cmocka_unit_test(hookdata_bad_mac),
	cmocka_unit_test(hookdata_with_doctype),
	cmocka_unit_test(domain_as_hookdata),
};

int main(void)
{
	int bad = hook_table_check("unit", tests, ARRAY_SIZE(tests));

	return cmocka_run_group_tests_name("hook inputs", tests, NULL, NULL) || bad;
}
