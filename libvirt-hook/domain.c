/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What struct domain means; reading it from XML is domain_xml.c's. */
#include "libvirt-hook/domain_xml.h"

#include <stdio.h>
#include <string.h>

#include "base/paths.h"

/* Frees what it holds, not itself; and so the next. */
static void nic_deinit(struct domain_nic *n)
{
	free(n->type);
	free(n->source_type);
	free(n->source_path);
	free(n->source_dev);
	free(n->source_mode);
	free(n->network);
	free(n->model);
	free(n->teaming);
	free(n->hostdev);
	free(n->alias);
}

static void domain_deinit(struct domain *d)
{
	for (size_t i = 0; i < d->n_nics; i++)
		nic_deinit(&d->nics[i]);
	for (size_t i = 0; i < d->n_hostdevs; i++) {
		free(d->hostdevs[i].address);
		free(d->hostdevs[i].alias);
		free(d->hostdevs[i].standby);
	}
	for (size_t i = 0; i < d->n_overrides; i++) {
		struct domain_override *o = &d->overrides[i];

		free(o->class_name);
		free(o->vlan);
		free(o->rate);
		free(o->weight);
		free(o->paths);
	}
	free(d->nics);
	free(d->hostdevs);
	free(d->overrides);
	free(d->name);
	free(d->memory_source);
	free(d->memballoon);
}

struct domain *domain_free(struct domain *d)
{
	if (d)
		domain_deinit(d);
	free(d);
	return NULL;
}

struct network_port *network_port_free(struct network_port *p)
{
	if (p) {
		domain_deinit(&p->owner);
		nic_deinit(&p->nic);
		free(p->network);
		free(p->plug);
	}
	free(p);
	return NULL;
}

const char *pci_address_format(const struct pci_address *a, char buf[PCI_ADDRESS_STR])
{
	snprintf(buf, PCI_ADDRESS_STR, "%04x:%02x:%02x.%x", a->domain, a->bus & 0xff,
		 a->slot & 0x1f, a->function & 7);
	return buf;
}

int pci_address_parse(const char *s, struct pci_address *ret)
{
	char again[PCI_ADDRESS_STR];
	struct pci_address a;

	/* One spelling: what is not written as we would write it is refused, signs and blanks with it. */
	if (strlen(s) >= PCI_ADDRESS_STR ||
	    sscanf(s, "%8x:%2x:%2x.%1x", &a.domain, &a.bus, &a.slot, &a.function) != 4 ||
	    strcmp(pci_address_format(&a, again), s) != 0)
		return -EINVAL;
	*ret = a;
	return 0;
}

static const char *vhostuser_socket(const struct domain_nic *nic)
{
	return str_eq(nic->type, "vhostuser") ? nic->source_path : NULL;
}

bool domain_nic_is_vdpa(const struct domain_nic *nic)
{
	return str_eq(nic->type, "vdpa") && nic->source_dev &&
	       !strncmp(nic->source_dev, VNIC_VDPA_DIR "/", strlen(VNIC_VDPA_DIR "/"));
}

bool domain_nic_is_ours(const struct domain_nic *nic)
{
	const char *socket = vhostuser_socket(nic);

	return domain_nic_is_vdpa(nic) ||
	       (socket && !strncmp(socket, VNIC_SOCK_DIR "/", strlen(VNIC_SOCK_DIR "/")));
}

/* Has it a VF that libvirt manages, or may it get one from its network? */
static bool nic_is_hostdev(const struct domain_nic *nic)
{
	return str_eq(nic->type, "hostdev") || str_eq(nic->type, "network");
}

static const struct domain_nic *find_nic(const struct domain *d, const uint8_t mac[VNIC_MAC_LEN],
					 bool (*is)(const struct domain_nic *nic))
{
	for (size_t i = 0; i < d->n_nics; i++)
		if (is(&d->nics[i]) && d->nics[i].has_mac &&
		    !memcmp(d->nics[i].mac, mac, VNIC_MAC_LEN))
			return &d->nics[i];
	return NULL;
}

const struct domain_nic *domain_nic_ours(const struct domain *d, const uint8_t mac[VNIC_MAC_LEN])
{
	return find_nic(d, mac, domain_nic_is_ours);
}

const struct domain_nic *domain_nic_hostdev(const struct domain *d, const uint8_t mac[VNIC_MAC_LEN])
{
	return find_nic(d, mac, nic_is_hostdev);
}

const struct domain_override *domain_override_of(const struct domain *d,
						 const uint8_t mac[VNIC_MAC_LEN])
{
	for (size_t i = 0; i < d->n_overrides; i++)
		if (!memcmp(d->overrides[i].mac, mac, VNIC_MAC_LEN))
			return &d->overrides[i];
	return NULL;
}

bool domain_nic_is_misspelt(const struct domain_nic *nic)
{
	const char *socket = str_eq(nic->type, "vdpa") ? nic->source_dev : vhostuser_socket(nic);
	const char *dir = VNIC_RUN_DIR + strlen("/run");

	return socket && !domain_nic_is_ours(nic) && strstr(socket, "/run") && strstr(socket, dir);
}

bool domain_alias_is_users(const char *alias)
{
	return alias && name_valid(alias) && !strncmp(alias, "ua-", 3) && alias[3];
}

bool domain_is_ours(const struct domain *d)
{
	if (d->has_ports)
		return true;
	for (size_t i = 0; i < d->n_nics; i++)
		if (domain_nic_is_ours(&d->nics[i]) || domain_nic_is_misspelt(&d->nics[i]))
			return true;
	return false;
}

/* A NUMA cell's memAccess wins over the domain's (libvirt, qemuBuildMemoryBackendProps()). */
bool domain_has_shared_memory(const struct domain *d)
{
	if (d->n_cells == 0)
		return d->shared_access;
	if (d->n_cells_private > 0)
		return false;
	return d->shared_access || d->n_cells_shared == d->n_cells;
}

/* @dir: with its slash. */
static int split_file(const char *file, const char *dir, const char *suffix,
		      char ret_class[VNIC_NAME_MAX], char ret_name[VNIC_NAME_MAX])
{
	char class_name[VNIC_NAME_MAX], name[VNIC_NAME_MAX];
	size_t n, n_suffix = strlen(suffix);
	const char *rest, *slash;

	if (strncmp(file, dir, strlen(dir)) || strlen(file) > DOMAIN_SOCKET_MAX)
		return -EINVAL;
	rest = file + strlen(dir);
	slash = strchr(rest, '/');
	if (!slash || (size_t)(slash - rest) >= sizeof(class_name))
		return -EINVAL;
	n = (size_t)(slash - rest);
	memcpy(class_name, rest, n);
	class_name[n] = '\0';
	n = strlen(slash + 1);
	if (n <= n_suffix || n - n_suffix >= sizeof(name))
		return -EINVAL;
	n -= n_suffix;
	if (strcmp(slash + 1 + n, suffix))
		return -EINVAL;
	memcpy(name, slash + 1, n);
	name[n] = '\0';
	if (!name_valid(class_name) || !name_valid(name))
		return -EINVAL;
	memcpy(ret_class, class_name, sizeof(class_name));
	memcpy(ret_name, name, sizeof(name));
	return 0;
}

int socket_split(const char *socket, char ret_class[VNIC_NAME_MAX], char ret_name[VNIC_NAME_MAX])
{
	return split_file(socket, VNIC_SOCK_DIR "/", ".sock", ret_class, ret_name);
}

int vdpa_split(const char *dev, char ret_class[VNIC_NAME_MAX], char ret_name[VNIC_NAME_MAX])
{
	return split_file(dev, VNIC_VDPA_DIR "/", "", ret_class, ret_name);
}
