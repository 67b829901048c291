// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "sys/net_lock.h"
#include "sys/netlink.h"

static int callback_result(int ret)
{
	if (ret >= 0)
		return MNL_CB_OK;
	errno = -ret;
	return MNL_CB_ERROR;
}

static int take_table(const struct nlmsghdr *header, void *context)
{
	struct hf_lock_list *list = context;
	struct hf_lock_view view, *grown;
	int ret = hf_lock_read_table(header, &view);

	if (ret <= 0)
		return callback_result(ret);
	for (size_t i = 0; i < list->n; i++)
		if (memcmp(list->locks[i].id, view.id, HF_ID_SIZE) == 0) {
			list->locks[i].tables |= view.tables;
			return MNL_CB_OK;
		}
	/* There are few. */
	grown = realloc(list->locks, (list->n + 1) * sizeof(*grown));
	if (!grown)
		return callback_result(-ENOMEM);
	list->locks = grown;
	list->locks[list->n++] = view;
	return MNL_CB_OK;
}

static void restart_tables(void *context)
{
	hf_lock_list_clear(context);
}

static int take_chain(const struct nlmsghdr *header, void *context)
{
	struct hf_lock_list *list = context;
	int ret = 0;

	for (size_t i = 0; i < list->n && ret == 0; i++)
		ret = hf_lock_read_chain(header, &list->locks[i]);
	return callback_result(ret);
}

/* What was taken is taken again. */
static void restart_chains(void *context)
{
	(void)context;
}

/* The rules of one table; what was counted before is of another. */
struct rules {
	struct hf_lock_view *view;
	uint64_t packets, bytes;
};

static int take_rule(const struct nlmsghdr *header, void *context)
{
	const struct rules *rules = context;

	return callback_result(hf_lock_read_rule(header, rules->view));
}

static void restart_rules(void *context)
{
	const struct rules *rules = context;

	rules->view->packets = rules->packets;
	rules->view->bytes = rules->bytes;
}

/* The elements of one set; those before `keep` are of another set. */
struct elements {
	struct hf_lock_view *view;
	enum hf_lock_set_kind kind;
	struct hf_lock_keys *keys;
	uint32_t keep;
};

static int take_elements(const struct nlmsghdr *header, void *context)
{
	const struct elements *elements = context;

	return callback_result(hf_lock_read_elements(header, elements->kind, elements->view));
}

static void restart_elements(void *context)
{
	const struct elements *elements = context;

	elements->keys->n = elements->keep;
}

static int dump(int sock, const struct nlmsghdr *request, mnl_cb_t each, void (*restart)(void *),
	void *context, struct hf_error *err)
{
	if (!request)
		return hf_error_sys(err, -ENOMEM, "cannot ask nftables");
	return hf_netlink_dump(sock, request, each, restart, context, err);
}

static int read_rules(int sock, struct hf_lock_view *view, struct hf_error *err)
{
	char buf[HF_LOCK_REQUEST] __attribute__((aligned(8)));
	int ret = 0;

	for (int table = 0; table < HF_LOCK_TABLES && ret == 0; table++) {
		struct rules rules = {view, view->packets, view->bytes};

		if (view->tables & 1u << table)
			ret = dump(sock, hf_lock_ask_rules(buf, view->id, table), take_rule,
				restart_rules, &rules, err);
	}
	return ret;
}

/* All its tables have the same. */
static int read_sets(int sock, struct hf_lock_view *view, struct hf_error *err)
{
	char buf[HF_LOCK_REQUEST] __attribute__((aligned(8)));
	enum hf_lock_table table =
		view->tables & 1u << HF_LOCK_INET ? HF_LOCK_INET : HF_LOCK_BRIDGE;

	for (int kind = 0; kind < HF_LOCK_SETS; kind++) {
		struct hf_lock_keys *keys =
			hf_lock_sets[kind].pair ? &view->conns : &view->listeners;
		struct elements elements = {view, kind, keys, keys->n};
		struct hf_error why = HF_ERROR_INIT;
		int ret = dump(sock, hf_lock_ask_elements(buf, view->id, table, kind),
			take_elements, restart_elements, &elements, &why);

		/* A lock has those sets that hold something. */
		if (ret < 0 && ret != -ENOENT)
			return hf_error_set(err, ret, "%s", why.text);
	}
	hf_lock_view_sort(view);
	return 0;
}

static int failed(struct hf_lock_list *list, int ret, struct hf_error *err)
{
	hf_lock_list_clear(list);
	return hf_error_context(err, ret, "cannot list the locks");
}

static int read_tables(int sock, struct hf_lock_list *list, struct hf_error *err)
{
	char buf[HF_LOCK_REQUEST] __attribute__((aligned(8)));

	if (sock < 0)
		return sock;
	return dump(sock, hf_lock_ask_tables(buf), take_table, restart_tables, list, err);
}

int hf_net_lock_tables(int netns, struct hf_lock_list *list, struct hf_error *err)
{
	hf_autoclose int sock = hf_netlink_open(netns, NETLINK_NETFILTER, err);
	int ret = read_tables(sock, list, err);

	return ret < 0 ? failed(list, ret, err) : 0;
}

int hf_net_locks(int netns, struct hf_lock_list *list, struct hf_error *err)
{
	char buf[HF_LOCK_REQUEST] __attribute__((aligned(8)));
	hf_autoclose int sock = hf_netlink_open(netns, NETLINK_NETFILTER, err);
	int ret = read_tables(sock, list, err);

	if (ret == 0 && list->n)
		ret = dump(sock, hf_lock_ask_chains(buf), take_chain, restart_chains, list, err);
	for (size_t i = 0; ret == 0 && i < list->n; i++) {
		ret = read_rules(sock, &list->locks[i], err);
		if (ret == 0)
			ret = read_sets(sock, &list->locks[i], err);
	}
	return ret < 0 ? failed(list, ret, err) : 0;
}

static int take_generation(const struct nlmsghdr *header, void *context)
{
	return callback_result(hf_lock_read_generation(header, context));
}

static void restart_generation(void *context)
{
	*(uint32_t *)context = 0;
}

int hf_net_generation(int netns, uint32_t *generation, struct hf_error *err)
{
	char buf[HF_LOCK_REQUEST] __attribute__((aligned(8)));
	hf_autoclose int sock = hf_netlink_open(netns, NETLINK_NETFILTER, err);
	int ret = sock;

	if (ret >= 0)
		ret = dump(sock, hf_lock_ask_generation(buf), take_generation, restart_generation,
			generation, err);
	return ret < 0 ? hf_error_context(err, ret, "cannot ask for the rules' generation") : 0;
}

void hf_lock_list_clear(struct hf_lock_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		hf_lock_view_clear(&list->locks[i]);
	free(list->locks);
	memset(list, 0, sizeof(*list));
}
