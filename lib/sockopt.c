// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/sockopt.h"

#include <errno.h>
#include <string.h>

#include <asm/socket.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/tcp.h>

/* Newer than the headers of Linux 6.1. */
#ifndef TCP_AO_ADD_KEY
#define TCP_AO_ADD_KEY  38
#define TCP_AO_DEL_KEY  39
#define TCP_AO_INFO     40
#define TCP_AO_GET_KEYS 41
#define TCP_AO_REPAIR   42
#endif
#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP 43
#endif
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif
#ifndef TCP_RTO_MIN_US
#define TCP_RTO_MIN_US    45
#define TCP_DELACK_MAX_US 46
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#ifndef IP_PROTOCOL
#define IP_PROTOCOL 52
#endif
/* These are for the architectures with the numbers of <asm-generic/socket.h>. */
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SO_RCVPRIORITY
#define SO_RCVPRIORITY 82
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif
#ifndef SO_INQ
#define SO_INQ 84
#endif

/* What TCP_MAXSEG takes (tcp_sock_set_maxseg()): kernel TCP_MIN_MSS, MAX_TCP_WINDOW. */
#define MIN_USER_MSS 88
#define MAX_USER_MSS 32767

/* The table. */
#define CARRIED(level, name, type, base, on, phase, flags, note)                                   \
	{#name, level, name, HF_SOCKOPT_HOLDFAST, HF_SOCKOPT_##type, HF_SOCKOPT_ON_##on,           \
		HF_SOCKOPT_##phase, flags, base, note},
#define BY_CRIU(level, name, note)  {#name, level, name, HF_SOCKOPT_CRIU, 0, 0, 0, 0, 0, note},
#define IN_STATE(level, name, note) {#name, level, name, HF_SOCKOPT_STATE, 0, 0, 0, 0, 0, note},
#define LEFT_OUT(level, name, note) {#name, level, name, HF_SOCKOPT_NOBODY, 0, 0, 0, 0, 0, note},
#define PEER                        HF_SOCKOPT_PEER
#define CRIU_IPV4                   HF_SOCKOPT_CRIU_IPV4
#define ECN                         HF_SOCKOPT_ECN
#define PRIORITY                    HF_SOCKOPT_PRIORITY
#define SECRET                      HF_SOCKOPT_SECRET
#define LEFT_ON                     HF_SOCKOPT_LEFT_ON
#define FOLLOWS                     HF_SOCKOPT_FOLLOWS
#define ZERO_IPV6                   HF_SOCKOPT_ZERO_IPV6
const struct hf_sockopt hf_sockopts[] = {
#include "lib/sockopt_table.h"
};
#undef CARRIED
#undef BY_CRIU
#undef IN_STATE
#undef LEFT_OUT
const unsigned int hf_n_sockopts = sizeof(hf_sockopts) / sizeof(hf_sockopts[0]);

/* The index of each row. */
#define CARRIED(level, name, type, base, on, phase, flags, note) INDEX_##name,
#define BY_CRIU(level, name, note)                               INDEX_##name,
#define IN_STATE(level, name, note)                              INDEX_##name,
#define LEFT_OUT(level, name, note)                              INDEX_##name,
enum {
#include "lib/sockopt_table.h"
	N_ROWS
};
#undef CARRIED
#undef BY_CRIU
#undef IN_STATE
#undef LEFT_OUT
_Static_assert(N_ROWS <= HF_SOCKOPT_MAX, "HF_SOCKOPT_MAX is too small");

/* A switch: the compiler makes a search of it, and refuses two rows of one option. */
#define KEY(level, number) ((uint32_t)(level) << 16 | (number))
#define CARRIED(level, name, type, base, on, phase, flags, note)                                   \
	case KEY(level, name):                                                                     \
		return &hf_sockopts[INDEX_##name];
#define BY_CRIU(level, name, note)                                                                 \
	case KEY(level, name):                                                                     \
		return &hf_sockopts[INDEX_##name];
#define IN_STATE(level, name, note)                                                                \
	case KEY(level, name):                                                                     \
		return &hf_sockopts[INDEX_##name];
#define LEFT_OUT(level, name, note)                                                                \
	case KEY(level, name):                                                                     \
		return &hf_sockopts[INDEX_##name];
/* NOLINTNEXTLINE(readability-function-size): a table */
const struct hf_sockopt *hf_sockopt_find(unsigned int level, unsigned int number)
{
	if (level > UINT16_MAX || number > UINT16_MAX)
		return NULL;
	switch (KEY(level, number)) {
#include "lib/sockopt_table.h"
	default:
		return NULL;
	}
}

static const struct {
	uint8_t min, max, step;
} lengths[HF_SOCKOPT_TYPES] = {
	[HF_SOCKOPT_INT] = {4, 4, 4},
	[HF_SOCKOPT_UINT] = {4, 4, 4},
	[HF_SOCKOPT_LONG] = {4, 8, 4},
	[HF_SOCKOPT_WORDS] = {4, 8, 4},
	[HF_SOCKOPT_NAME] = {1, HF_SOCKOPT_NAME_SIZE - 1, 1},
	[HF_SOCKOPT_KEY] = {16, 32, 16},
	[HF_SOCKOPT_IPOPTS] = {4, 40, 4},
	[HF_SOCKOPT_EXTHDR] = {8, HF_OPTION_SIZE, 8},
};

const char *hf_sockopt_level_name(unsigned int level)
{
	switch (level) {
	case IPPROTO_TCP:
		return "TCP";
	case SOL_SOCKET:
		return "SOL_SOCKET";
	case IPPROTO_IP:
		return "IP";
	case IPPROTO_IPV6:
		return "IPv6";
	default:
		return "unknown";
	}
}

unsigned int hf_sockopt_max_len(const struct hf_sockopt *row)
{
	return lengths[row->type].max;
}

bool hf_sockopt_has_len(const struct hf_sockopt *row, unsigned int len)
{
	return len >= lengths[row->type].min && len <= lengths[row->type].max &&
	       len % lengths[row->type].step == 0;
}

unsigned int hf_sockopt_kind(const struct hf_conn *conn)
{
	if (conn->state == HF_TCP_LISTEN)
		return HF_SOCKOPT_ON_LISTENER;
	if (conn->state == HF_TCP_CLOSE && conn->closed == HF_CLOSED_UNCONNECTED)
		return HF_SOCKOPT_ON_CLOSED;
	return HF_SOCKOPT_ON_CONNECTION;
}

bool hf_sockopt_applies(const struct hf_sockopt *row, unsigned int kind, enum hf_family family)
{
	if (row->carrier != HF_SOCKOPT_HOLDFAST || !(row->on & kind))
		return false;
	if (family == HF_FAMILY_IPV4)
		return row->level != IPPROTO_IPV6 && !(row->flags & HF_SOCKOPT_CRIU_IPV4);
	return true;
}

int64_t hf_sockopt_integer(const struct hf_sockopt *row, const struct hf_option *option)
{
	int32_t value32;
	int64_t value64;

	if (option->len == sizeof(value64)) {
		memcpy(&value64, option->value, sizeof(value64));
		return value64;
	}
	memcpy(&value32, option->value, sizeof(value32));
	/* A LONG that was read in 32 bits says ~0 for ~0 (sk_getsockopt()). */
	return row->type == HF_SOCKOPT_UINT ? (int64_t)(uint32_t)value32 : value32;
}

static bool all_zero(const struct hf_option *option)
{
	for (unsigned int i = 0; i < option->len; i++)
		if (option->value[i])
			return false;
	return true;
}

static int64_t base_of(const struct hf_sockopt *row, enum hf_family family)
{
	return row->flags & HF_SOCKOPT_ZERO_IPV6 && family == HF_FAMILY_IPV6 ? 0 : row->base;
}

bool hf_sockopt_is_base(
	const struct hf_sockopt *row, enum hf_family family, const struct hf_option *option)
{
	switch (row->type) {
	case HF_SOCKOPT_INT:
	case HF_SOCKOPT_UINT:
	case HF_SOCKOPT_LONG:
		return hf_sockopt_integer(row, option) == base_of(row, family);
	case HF_SOCKOPT_NAME:
		return option->len == strlen(HF_SOCKOPT_BASE_CONGESTION) &&
		       memcmp(option->value, HF_SOCKOPT_BASE_CONGESTION, option->len) == 0;
	case HF_SOCKOPT_WORDS:
		return all_zero(option);
	default:
		return option->len == 0;
	}
}

bool hf_sockopt_base(const struct hf_sockopt *row, enum hf_family family, struct hf_option *option)
{
	long value = (long)base_of(row, family);
	int32_t value32 = (int32_t)value;

	memset(option, 0, sizeof(*option));
	option->level = row->level;
	option->name = row->number;
	switch (row->type) {
	case HF_SOCKOPT_INT:
	case HF_SOCKOPT_UINT:
		option->len = sizeof(value32);
		memcpy(option->value, &value32, sizeof(value32));
		return true;
	case HF_SOCKOPT_LONG:
		option->len = sizeof(value);
		memcpy(option->value, &value, sizeof(value));
		return true;
	case HF_SOCKOPT_NAME:
		option->len = sizeof(HF_SOCKOPT_BASE_CONGESTION) - 1;
		memcpy(option->value, HF_SOCKOPT_BASE_CONGESTION, option->len);
		return true;
	default:
		return false;
	}
}

void hf_sockopt_normalize(const struct hf_sockopt *row, struct hf_option *option)
{
	int32_t value = 0;

	if (option->len == sizeof(value))
		memcpy(&value, option->value, sizeof(value));
	if (row->type == HF_SOCKOPT_NAME) {
		option->len = (uint16_t)strnlen((char *)option->value, option->len);
	} else if (row->flags & HF_SOCKOPT_ECN && option->len == sizeof(value)) {
		value &= ~3; /* kernel INET_ECN_MASK */
		memcpy(option->value, &value, sizeof(value));
	} else if (row == &hf_sockopts[INDEX_TCP_MAXSEG] &&
		   (value < MIN_USER_MSS || value > MAX_USER_MSS)) {
		/* Not set: it reads as mss_cache, which IP_OPTIONS changes on a listener too. */
		option->len = 0;
	}
	memset(option->value + option->len, 0, sizeof(option->value) - option->len);
}

static int bad(const struct hf_option *option, const char *why, struct hf_error *err)
{
	const struct hf_sockopt *row = hf_sockopt_find(option->level, option->name);

	if (row)
		return hf_error_set(err, -EBADMSG, "option %s: %s", row->name, why);
	return hf_error_set(
		err, -EBADMSG, "option %u of level %u: %s", option->name, option->level, why);
}

static bool is_plain_name(const struct hf_option *option)
{
	for (unsigned int i = 0; i < option->len; i++)
		if (option->value[i] <= ' ' || option->value[i] >= 0x7f)
			return false;
	return true;
}

static int check_one(const struct hf_conn *conn, const struct hf_option *option,
	struct hf_sockopt_set *seen, struct hf_error *err)
{
	const struct hf_sockopt *row = hf_sockopt_find(option->level, option->name);

	if (!row)
		return bad(option, "is unknown to this version", err);
	if (!hf_sockopt_applies(row, hf_sockopt_kind(conn), conn->family))
		return bad(option, "is not one that holdfast carries on such a socket", err);
	if (!hf_sockopt_has_len(row, option->len))
		return bad(option, "has a wrong length", err);
	if (row->type == HF_SOCKOPT_NAME && !is_plain_name(option))
		return bad(option, "is no plain name", err);
	if (hf_sockopt_set_has(seen, hf_sockopt_index(row)))
		return bad(option, "is there twice", err);
	hf_sockopt_set_add(seen, hf_sockopt_index(row));
	return 0;
}

int hf_sockopt_check(const struct hf_conn *conn, struct hf_error *err)
{
	struct hf_sockopt_set seen = {0};
	int ret = 0;

	for (uint32_t i = 0; i < conn->n_options && ret == 0; i++)
		ret = check_one(conn, &conn->options[i], &seen, err);
	return ret;
}
