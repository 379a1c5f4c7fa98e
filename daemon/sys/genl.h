/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Generic netlink: families by name, as they come with modules and go, their requests and notifications. A
 * family that this kernel lacks is no error: it has nothing to tell.
 */
#pragma once

#include "daemon/sys/nlcall.h"

struct genl;

/**
 * struct genl_family - one that its user asks and hears; the user's, until genl_free()
 * @name, @version: "devlink", 1
 * @group: multicast group to hear, or NULL
 * @id: 0 until it is known, and while the kernel has none
 * @appeared: there it is, perhaps anew: read everything; also after messages were lost
 * @vanished: with its module
 * @notify: a message of @group
 */
struct genl_family {
	const char *name;
	uint8_t version;
	const char *group;
	void (*appeared)(void *userdata);
	void (*vanished)(void *userdata);
	void (*notify)(void *userdata, const struct nlmsghdr *nlh);
	void *userdata;
	/* genl's: */
	uint16_t id;
	struct genl_family *next;
};

/* @idle: all that was asked is answered */
int genl_new(struct loop *loop, void (*idle)(void *userdata), void *userdata, struct genl **ret);
struct genl *genl_free(struct genl *genl);
DEFINE_CLEANUP(struct genl *, genl_free)

/* Ask for @family and follow it. */
int genl_follow(struct genl *genl, struct genl_family *family);
bool genl_idle(const struct genl *genl);

/* Begin a request in @buf (of GENL_REQUEST_MAX bytes), to which attributes are put. */
#define GENL_REQUEST_MAX 512
struct nlmsghdr *genl_request(char *buf, const struct genl_family *family, uint8_t cmd, bool dump);
int genl_call(struct genl *genl, const struct nlmsghdr *nlh, const struct nlcall_about *about,
	      const struct nlcall_ops *ops, void *userdata);

/* The command of a message; 0, which none has, where it is too short for one. */
uint8_t genl_cmd(const struct nlmsghdr *nlh);
/**
 * genl_parse() - the attributes of a message, each by its type
 * @tb: of @max + 1 entries, zeroed; types above are passed over
 */
int genl_parse(const struct nlmsghdr *nlh, const struct nlattr **tb, size_t max);
int genl_parse_nested(const struct nlattr *nest, const struct nlattr **tb, size_t max);

/* Call @fn for each attribute behind a header of @header bytes, within the message's bounds. 0 or -EBADMSG */
int nla_parse(const struct nlmsghdr *nlh, size_t header,
	      int (*fn)(const struct nlattr *attr, void *data), void *data);
/* An attribute's value where it is there and of that type. */
bool nla_string(const struct nlattr *attr, char *dst, size_t size);
bool nla_u8(const struct nlattr *attr, uint8_t *ret);
bool nla_u16(const struct nlattr *attr, uint16_t *ret);
bool nla_u32(const struct nlattr *attr, uint32_t *ret);
bool nla_u64(const struct nlattr *attr, uint64_t *ret);

/**
 * genl_parse_family() - what nlctrl says of a family
 * @group: name of the multicast group whose number is wanted, or NULL
 * @ret_group: its number, or 0
 */
int genl_parse_family(const struct nlmsghdr *nlh, const char *group, char *ret_name, size_t size,
		      uint16_t *ret_id, uint32_t *ret_group);
