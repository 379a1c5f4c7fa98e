/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "libvirt-hook/xml_write.h"

#include <stdlib.h>

/* @s as an attribute's value or text; what XML 1.0 cannot hold becomes '?'. */
static void write_escaped(FILE *f, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		case '\'':
			fputs("&apos;", f);
			break;
		case '\t':
		case '\n':
		case '\r':
			/* A plain one would be read back as a blank (XML 1.0, 3.3.3). */
			fprintf(f, "&#%d;", *s);
			break;
		default:
			fputc((unsigned char)*s < 0x20 ? '?' : *s, f);
		}
	}
}

static char *interface(const char *type, const uint8_t *mac, const char *source, const char *file,
		       const char *after, uint32_t queues)
{
	char text[VNIC_MAC_STR];
	char *buf = NULL;
	size_t size;
	FILE *f = open_memstream(&buf, &size);

	if (!f)
		return NULL;
	fprintf(f, "<interface type='%s'>\n", type);
	if (mac)
		fprintf(f, "  <mac address='%s'/>\n", mac_format(mac, text));
	fprintf(f, "  <source %s='", source);
	write_escaped(f, file);
	fprintf(f, "'%s\n  <model type='virtio'/>\n", after);
	if (queues > 1)
		fprintf(f, "  <driver queues='%u'/>\n", queues);
	fputs("</interface>", f);
	if (fclose(f) != 0) {
		free(buf);
		return NULL;
	}
	return buf;
}

char *xml_nic(const uint8_t *mac, const char *socket, uint32_t queues)
{
	return interface("vhostuser", mac, "type='unix' path", socket,
			 " mode='client'>\n    <reconnect enabled='yes' timeout='1'/>\n  </source>",
			 queues);
}

char *xml_vdpa(const uint8_t *mac, const char *dev, uint32_t queues)
{
	return interface("vdpa", mac, "dev", dev, "/>", queues);
}

char *xml_hostdev(const struct pci_address *address, const char *alias, const char *standby)
{
	char *buf = NULL;
	size_t size;
	FILE *f = open_memstream(&buf, &size);

	if (!f)
		return NULL;
	fprintf(f,
		"<hostdev mode='subsystem' type='pci' managed='no'>\n"
		"  <source>\n"
		"    <address domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/>\n"
		"  </source>\n"
		"  <teaming type='transient' persistent='",
		address->domain, address->bus, address->slot, address->function);
	write_escaped(f, standby);
	fputs("'/>\n  <alias name='", f);
	write_escaped(f, alias);
	fputs("'/>\n</hostdev>", f);
	if (fclose(f) != 0) {
		free(buf);
		return NULL;
	}
	return buf;
}
