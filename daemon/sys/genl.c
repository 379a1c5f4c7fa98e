/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/genl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>

/* nlctrl's own group "notify" has its family's number since it exists (net/netlink/genetlink.c). */
#define CTRL_GROUP GENL_ID_CTRL

struct genl {
	struct nlcalls *calls;
	struct genl_family *families;
	void (*idle)(void *userdata);
	void *userdata;
};

struct collected {
	const struct nlattr **tb;
	size_t max;
};

static int collect(const struct nlattr *attr, void *data)
{
	const struct collected *c = data;
	size_t type = mnl_attr_get_type(attr);

	if (type <= c->max)
		c->tb[type] = attr;
	return MNL_CB_OK;
}

/* Not mnl_attr_parse(), which takes a length that is no multiple of four for the next one that is. */
int nla_parse(const struct nlmsghdr *nlh, size_t header,
	      int (*fn)(const struct nlattr *attr, void *data), void *data)
{
	size_t skip = mnl_nlmsg_size(header);

	if (nlh->nlmsg_len < skip ||
	    mnl_attr_parse_payload((const char *)nlh + skip, nlh->nlmsg_len - skip, fn, data) < 0)
		return -EBADMSG;
	return 0;
}

int genl_parse(const struct nlmsghdr *nlh, const struct nlattr **tb, size_t max)
{
	struct collected c = { tb, max };

	return nla_parse(nlh, sizeof(struct genlmsghdr), collect, &c);
}

int genl_parse_nested(const struct nlattr *nest, const struct nlattr **tb, size_t max)
{
	struct collected c = { tb, max };

	return nest && mnl_attr_parse_nested(nest, collect, &c) >= 0 ? 0 : -EBADMSG;
}

bool nla_string(const struct nlattr *attr, char *dst, size_t size)
{
	return attr && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 &&
	       str_copy(dst, size, mnl_attr_get_str(attr)) == 0;
}

/* The kernel makes these of their exact size: another one is another attribute. */
#define NLA_NUMBER(name, type)                                               \
	bool name(const struct nlattr *attr, type *ret)                      \
	{                                                                    \
		if (!attr || mnl_attr_get_payload_len(attr) != sizeof(*ret)) \
			return false;                                        \
		memcpy(ret, mnl_attr_get_payload(attr), sizeof(*ret));       \
		return true;                                                 \
	}

NLA_NUMBER(nla_u8, uint8_t)
NLA_NUMBER(nla_u16, uint16_t)
NLA_NUMBER(nla_u32, uint32_t)
NLA_NUMBER(nla_u64, uint64_t)

uint8_t genl_cmd(const struct nlmsghdr *nlh)
{
	const struct genlmsghdr *g = mnl_nlmsg_get_payload(nlh);

	return nlh->nlmsg_len >= mnl_nlmsg_size(sizeof(*g)) ? g->cmd : 0;
}

static uint32_t find_group(const struct nlattr *groups, const char *name)
{
	const struct nlattr *a;

	if (!groups || !name)
		return 0;
	mnl_attr_for_each_nested(a, groups)
	{
		const struct nlattr *tb[CTRL_ATTR_MCAST_GRP_MAX + 1] = { 0 };
		char text[GENL_NAMSIZ];
		uint32_t id;

		if (genl_parse_nested(a, tb, CTRL_ATTR_MCAST_GRP_MAX) == 0 &&
		    nla_string(tb[CTRL_ATTR_MCAST_GRP_NAME], text, sizeof(text)) &&
		    str_eq(text, name) && nla_u32(tb[CTRL_ATTR_MCAST_GRP_ID], &id))
			return id;
	}
	return 0;
}

int genl_parse_family(const struct nlmsghdr *nlh, const char *group, char *ret_name, size_t size,
		      uint16_t *ret_id, uint32_t *ret_group)
{
	const struct nlattr *tb[CTRL_ATTR_MCAST_GROUPS + 1] = { 0 };
	char name[GENL_NAMSIZ];
	uint16_t id;

	if (genl_parse(nlh, tb, CTRL_ATTR_MCAST_GROUPS) < 0 ||
	    !nla_string(tb[CTRL_ATTR_FAMILY_NAME], name, sizeof(name)) ||
	    !nla_u16(tb[CTRL_ATTR_FAMILY_ID], &id) || id < GENL_MIN_ID)
		return -EBADMSG;
	if (str_copy(ret_name, size, name) < 0)
		return -EBADMSG;
	*ret_id = id;
	*ret_group = find_group(tb[CTRL_ATTR_MCAST_GROUPS], group);
	return 0;
}

static struct genl_family *find(const struct genl *genl, const char *name)
{
	struct genl_family *f;

	for (f = genl->families; f && !str_eq(f->name, name); f = f->next)
		;
	return f;
}

static void on_family(void *userdata, const struct nlcall_about *about, const struct nlmsghdr *nlh)
{
	struct genl *genl = userdata;
	struct genl_family *f = find(genl, about->dev);
	char name[GENL_NAMSIZ];
	uint32_t group;
	uint16_t id;

	if (!f || genl_parse_family(nlh, f->group, name, sizeof(name), &id, &group) < 0 ||
	    !str_eq(name, f->name))
		return;
	f->id = id;
	if (group)
		nlcalls_join(genl->calls, group);
}

static void on_family_done(void *userdata, const struct nlcall_about *about, int error)
{
	struct genl *genl = userdata;
	struct genl_family *f = find(genl, about->dev);

	/* -ENOENT: this kernel has none, or its module is not there yet. */
	if (f && error == 0 && f->id)
		f->appeared(f->userdata);
}

static int ask_family(struct genl *genl, const struct genl_family *f)
{
	static const struct nlcall_ops ops = { on_family, on_family_done };
	static const struct genl_family ctrl = { .id = GENL_ID_CTRL, .version = 1 };
	char buf[GENL_REQUEST_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = genl_request(buf, &ctrl, CTRL_CMD_GETFAMILY, false);
	struct nlcall_about about = { 0 };

	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, f->name);
	if (str_copy(about.dev, sizeof(about.dev), f->name) < 0)
		return -EINVAL;
	return nlcall(genl->calls, nlh, &about, &ops, genl);
}

static void on_ctrl(struct genl *genl, const struct nlmsghdr *nlh)
{
	uint8_t cmd = genl_cmd(nlh);
	struct genl_family *f;
	char name[GENL_NAMSIZ];
	uint32_t group;
	uint16_t id;

	if ((cmd != CTRL_CMD_NEWFAMILY && cmd != CTRL_CMD_DELFAMILY) ||
	    genl_parse_family(nlh, NULL, name, sizeof(name), &id, &group) < 0)
		return;
	f = find(genl, name);
	if (!f)
		return;
	if (cmd == CTRL_CMD_NEWFAMILY) {
		ask_family(genl, f);
	} else if (f->id) {
		f->id = 0;
		f->vanished(f->userdata);
	}
}

static void on_notify(void *userdata, const struct nlmsghdr *nlh)
{
	struct genl *genl = userdata;

	if (nlh->nlmsg_type == GENL_ID_CTRL) {
		on_ctrl(genl, nlh);
		return;
	}
	for (struct genl_family *f = genl->families; f; f = f->next)
		if (f->id && f->id == nlh->nlmsg_type && f->notify)
			f->notify(f->userdata, nlh);
}

/* Also families that came meanwhile may have been missed: all are asked for again. */
static void on_lost(void *userdata)
{
	struct genl *genl = userdata;

	for (struct genl_family *f = genl->families; f; f = f->next)
		ask_family(genl, f);
}

static void on_idle(void *userdata)
{
	struct genl *genl = userdata;

	genl->idle(genl->userdata);
}

int genl_new(struct loop *loop, void (*idle)(void *userdata), void *userdata, struct genl **ret)
{
	static const struct nlcalls_ops ops = { on_notify, on_lost, on_idle };
	_cleanup_(genl_freep) struct genl *genl = calloc(1, sizeof(*genl));
	int r;

	if (!genl)
		return -ENOMEM;
	genl->idle = idle;
	genl->userdata = userdata;
	r = nlcalls_new(loop, NETLINK_GENERIC, &ops, genl, &genl->calls);
	if (r < 0)
		return r;
	r = nlcalls_join(genl->calls, CTRL_GROUP);
	if (r < 0)
		return r;
	*ret = take_ptr(genl);
	return 0;
}

struct genl *genl_free(struct genl *genl)
{
	if (!genl)
		return NULL;
	nlcalls_free(genl->calls);
	free(genl);
	return NULL;
}

int genl_follow(struct genl *genl, struct genl_family *family)
{
	int r;

	family->id = 0;
	family->next = genl->families;
	genl->families = family;
	r = ask_family(genl, family);
	if (r < 0)
		genl->families = family->next;
	return r;
}

bool genl_idle(const struct genl *genl)
{
	return nlcalls_idle(genl->calls);
}

struct nlmsghdr *genl_request(char *buf, const struct genl_family *family, uint8_t cmd, bool dump)
{
	struct nlmsghdr *nlh;
	struct genlmsghdr *g;

	memset(buf, 0, GENL_REQUEST_MAX);
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = family->id;
	nlh->nlmsg_flags = NLM_F_REQUEST | (dump ? NLM_F_DUMP : 0);
	g = mnl_nlmsg_put_extra_header(nlh, sizeof(*g));
	g->cmd = cmd;
	g->version = family->version;
	return nlh;
}

int genl_call(struct genl *genl, const struct nlmsghdr *nlh, const struct nlcall_about *about,
	      const struct nlcall_ops *ops, void *userdata)
{
	return nlcall(genl->calls, nlh, about, ops, userdata);
}
