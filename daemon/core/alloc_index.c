/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/alloc_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "base/cleanup.h"

/* What a port is sorted by, as it was when it was told. */
struct entry {
	const struct vnic_port *port;
	struct port_key key;
	char segment[VNIC_NAME_MAX];
	uint16_t vlan;
	struct bucket *mac, *socket;
	struct class_count *class;
	struct alloc_index_pf *pf; /* whose VF it holds, or NULL */
	char pf_addr[DEV_ADDR_MAX];
	int vf;
	bool second; /* it claims a VF that another port holds: records can say so */
	struct entry *mac_prev, *mac_next, *socket_prev, *socket_next;
	UT_hash_handle hh;
};

/* Ports with one MAC, or one socket: rarely more than one. */
struct bucket {
	char key[2 * VNIC_NAME_MAX];
	struct entry *first;
	UT_hash_handle hh;
};

struct class_count {
	char name[VNIC_NAME_MAX];
	uint32_t ports, vfs;
	UT_hash_handle hh;
};

struct alloc_index_pf {
	char addr[DEV_ADDR_MAX];
	const struct vnic_port **port; /* n of them, by VF */
	int n;
	int held;
	UT_hash_handle hh;
};

struct alloc_index {
	struct entry *entries; /* by key */
	struct bucket *macs, *sockets;
	struct class_count *classes;
	struct alloc_index_pf *pfs;
	unsigned int seconds; /* entries that are */
};

int alloc_index_new(struct alloc_index **ret)
{
	struct alloc_index *ix = calloc(1, sizeof(*ix));

	if (!ix)
		return -ENOMEM;
	*ret = ix;
	return 0;
}

struct alloc_index *alloc_index_free(struct alloc_index *ix)
{
	if (!ix)
		return NULL;
	while (ix->entries)
		alloc_index_remove(ix, &ix->entries->key);
	free(ix);
	return NULL;
}

static struct bucket *bucket_get(struct bucket **head, const char *key)
{
	struct bucket *b;

	HASH_FIND_STR(*head, key, b);
	if (b)
		return b;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	strcpy(b->key, key);
	HASH_ADD_STR(*head, key, b);
	return b;
}

static void bucket_put(struct bucket **head, struct bucket *b)
{
	if (!b || b->first)
		return;
	HASH_DEL(*head, b);
	free(b);
}

static struct class_count *class_get(struct alloc_index *ix, const char *name)
{
	struct class_count *c;

	HASH_FIND_STR(ix->classes, name, c);
	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	strcpy(c->name, name);
	HASH_ADD_STR(ix->classes, name, c);
	return c;
}

static void class_put(struct alloc_index *ix, struct class_count *c)
{
	if (!c || c->ports)
		return;
	HASH_DEL(ix->classes, c);
	free(c);
}

static void pf_put(struct alloc_index *ix, struct alloc_index_pf *pf)
{
	if (!pf || pf->held)
		return;
	HASH_DEL(ix->pfs, pf);
	free(pf->port);
	free(pf);
}

/* With room for VF @vf. */
static struct alloc_index_pf *pf_get(struct alloc_index *ix, const char *addr, int vf)
{
	const struct vnic_port **more;
	struct alloc_index_pf *pf;

	HASH_FIND_STR(ix->pfs, addr, pf);
	if (!pf) {
		pf = calloc(1, sizeof(*pf));
		if (!pf)
			return NULL;
		strcpy(pf->addr, addr);
		HASH_ADD_STR(ix->pfs, addr, pf);
	}
	if (vf < pf->n)
		return pf;
	more = reallocarray(pf->port, (size_t)vf + 1, sizeof(*more));
	if (!more) {
		pf_put(ix, pf);
		return NULL;
	}
	memset(more + pf->n, 0, ((size_t)vf + 1 - (size_t)pf->n) * sizeof(*more));
	pf->port = more;
	pf->n = vf + 1;
	return pf;
}

/* "CLASS/NAME": neither has a slash. */
static const char *socket_key(const char *class_name, const char *name, char buf[2 * VNIC_NAME_MAX])
{
	char *end = stpcpy(buf, class_name);

	*end++ = '/';
	strcpy(end, name);
	return buf;
}

static struct entry *find(const struct alloc_index *ix, const struct port_key *key)
{
	struct entry *e;

	HASH_FIND(hh, ix->entries, key, sizeof(*key), e);
	return e;
}

static void hold(struct entry *e, struct alloc_index_pf *pf)
{
	e->pf = pf;
	pf->port[e->vf] = e->port;
	pf->held++;
	e->class->vfs++;
}

/* The holder of VF @vf has gone: who claims it too has it now. */
static void hold_next(struct alloc_index *ix, struct alloc_index_pf *pf, int vf)
{
	struct entry *e;

	for (e = ix->seconds ? ix->entries : NULL; e; e = e->hh.next) {
		if (!e->second || e->vf != vf || !str_eq(e->pf_addr, pf->addr))
			continue;
		e->second = false;
		ix->seconds--;
		hold(e, pf);
		return;
	}
}

/* Whatever of @e is in the index is taken out, and @e freed. */
static void entry_drop(struct alloc_index *ix, struct entry *e)
{
	ix->seconds -= e->second;
	if (e->pf) {
		e->pf->port[e->vf] = NULL;
		e->pf->held--;
		e->class->vfs--;
		hold_next(ix, e->pf, e->vf);
		pf_put(ix, e->pf);
	}
	if (e->class) {
		e->class->ports--;
		class_put(ix, e->class);
	}
	if (e->mac) {
		DL_DELETE2(e->mac->first, e, mac_prev, mac_next);
		bucket_put(&ix->macs, e->mac);
	}
	if (e->socket) {
		DL_DELETE2(e->socket->first, e, socket_prev, socket_next);
		bucket_put(&ix->sockets, e->socket);
	}
	free(e);
}

static int entry_fill(struct alloc_index *ix, struct entry *e)
{
	const struct port_device *device = &e->port->device;
	const struct port_spec *spec = &e->port->spec;
	char mac[VNIC_MAC_STR], socket[2 * VNIC_NAME_MAX];
	struct class_count *class = class_get(ix, spec->class_name);
	struct alloc_index_pf *pf;

	if (!class)
		return -ENOMEM;
	e->class = class;
	class->ports++;
	mac_format(spec->key.mac, mac);
	e->mac = bucket_get(&ix->macs, mac);
	if (!e->mac)
		return -ENOMEM;
	DL_APPEND2(e->mac->first, e, mac_prev, mac_next);
	e->socket = bucket_get(&ix->sockets, socket_key(spec->class_name, spec->name, socket));
	if (!e->socket)
		return -ENOMEM;
	DL_APPEND2(e->socket->first, e, socket_prev, socket_next);
	if (device->state == DEVICE_NONE || device->vf < 0 || device->vf >= PF_VFS_MAX)
		return 0;
	pf = pf_get(ix, device->pf, device->vf);
	if (!pf)
		return -ENOMEM;
	strcpy(e->pf_addr, device->pf);
	e->vf = device->vf;
	e->second = pf->port[e->vf];
	ix->seconds += e->second;
	if (!e->second)
		hold(e, pf);
	return 0;
}

int alloc_index_update(struct alloc_index *ix, const struct vnic_port *port)
{
	struct entry *e;

	alloc_index_remove(ix, &port->spec.key);
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->port = port;
	e->key = port->spec.key;
	e->vlan = port->vlan;
	strcpy(e->segment, port->segment);
	if (entry_fill(ix, e) < 0) {
		entry_drop(ix, e);
		return -ENOMEM;
	}
	HASH_ADD(hh, ix->entries, key, sizeof(e->key), e);
	return 0;
}

void alloc_index_remove(struct alloc_index *ix, const struct port_key *key)
{
	struct entry *e = find(ix, key);

	if (!e)
		return;
	HASH_DEL(ix->entries, e);
	entry_drop(ix, e);
}

const struct vnic_port *alloc_index_mac(const struct alloc_index *ix, const char *segment,
					uint16_t vlan, const uint8_t mac[VNIC_MAC_LEN],
					const struct port_key *but)
{
	char key[VNIC_MAC_STR];
	const struct bucket *b;
	const struct entry *e;

	mac_format(mac, key);
	HASH_FIND_STR(ix->macs, key, b);
	for (e = b ? b->first : NULL; e; e = e->mac_next)
		if (!port_key_eq(&e->key, but) && e->vlan == vlan && str_eq(e->segment, segment))
			return e->port;
	return NULL;
}

const struct vnic_port *alloc_index_socket(const struct alloc_index *ix, const char *class_name,
					   const char *name, const struct port_key *but)
{
	char key[2 * VNIC_NAME_MAX];
	const struct bucket *b;
	const struct entry *e;

	HASH_FIND_STR(ix->sockets, socket_key(class_name, name, key), b);
	for (e = b ? b->first : NULL; e; e = e->socket_next)
		if (!port_key_eq(&e->key, but))
			return e->port;
	return NULL;
}

void alloc_index_class(const struct alloc_index *ix, const char *class_name,
		       const struct port_key *but, uint32_t *ret_ports, uint32_t *ret_vfs)
{
	const struct entry *e = find(ix, but);
	const struct class_count *c;

	HASH_FIND_STR(ix->classes, class_name, c);
	*ret_ports = c ? c->ports : 0;
	*ret_vfs = c ? c->vfs : 0;
	if (!c || !e || e->class != c)
		return;
	--*ret_ports;
	*ret_vfs -= e->pf != NULL;
}

const struct alloc_index_pf *alloc_index_pf(const struct alloc_index *ix, const char *pf)
{
	const struct alloc_index_pf *found;

	HASH_FIND_STR(ix->pfs, pf, found);
	return found;
}

const struct vnic_port *alloc_index_holder(const struct alloc_index_pf *pf, int vf)
{
	return pf && vf < pf->n ? pf->port[vf] : NULL;
}
