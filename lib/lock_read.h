/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_LOCK_READ_H
#define HF_LIB_LOCK_READ_H

/*
 * What nftables tells of a lock (lib/lock_rules.h): requests into a buffer, and the answers, which
 * have the form of the messages that made the lock.
 *
 * First hf_lock_ask_tables() and, for each answer, hf_lock_read_table(); answers with the same id
 * are one lock. Then for each of its tables the rules, for one of them the elements of each of the
 * sets, where one that is not there is an ENOENT of the kernel, and the chains of all tables.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/conn.h"
#include "lib/image.h"
#include "lib/lock_note.h"
#include "lib/lock_rules.h"
#include "lib/lock_sets.h"

struct nlmsghdr;

/* What is held: no padding, so that memcmp(3) can compare it. IPv4 addresses are IPv4-mapped. */
struct hf_lock_key {
	uint8_t peer[16];  /* of a listener: all 0 */
	uint8_t local[16]; /* all 0: a listener on every address */
	uint16_t peer_port, local_port;
};

struct hf_lock_keys {
	struct hf_lock_key *keys; /* owned; sorted after hf_lock_view_sort() */
	uint32_t n, room;
};

struct hf_lock_view {
	uint8_t id[HF_ID_SIZE];
	struct hf_lock_note note;    /* all 0 where the table has no comment of ours */
	struct hf_lock_note restore; /* a restore that found the lock there already; all 0: none */
	unsigned int tables;         /* bit 1 << enum hf_lock_table for each that is there */
	uint64_t left_ms;            /* until the last of the elements expires; 0: they do not */
	struct hf_lock_keys conns, listeners;
	uint64_t packets, bytes; /* held, that is dropped */
};

/* Bytes of a request. */
#define HF_LOCK_REQUEST 512

/* Requests with NLM_F_DUMP, in buf, which is aligned as a struct nlmsghdr. NULL: out of memory. */
struct nlmsghdr *hf_lock_ask_tables(char buf[HF_LOCK_REQUEST]);
struct nlmsghdr *hf_lock_ask_chains(char buf[HF_LOCK_REQUEST]);
struct nlmsghdr *hf_lock_ask_rules(
	char buf[HF_LOCK_REQUEST], const uint8_t id[HF_ID_SIZE], enum hf_lock_table table);
struct nlmsghdr *hf_lock_ask_elements(char buf[HF_LOCK_REQUEST], const uint8_t id[HF_ID_SIZE],
	enum hf_lock_table table, enum hf_lock_set_kind kind);

/* Without NLM_F_DUMP: which generation of its rules a namespace has. Any change makes another. */
struct nlmsghdr *hf_lock_ask_generation(char buf[HF_LOCK_REQUEST]);
int hf_lock_read_generation(const struct nlmsghdr *header, uint32_t *generation);

/* One answer each. They add to *view. Return 0, or a negative errno; the first 1 if it is a lock
 * and 0 if it is any other table. */
int hf_lock_read_table(const struct nlmsghdr *header, struct hf_lock_view *view);
int hf_lock_read_chain(const struct nlmsghdr *header, struct hf_lock_view *view);
int hf_lock_read_rule(const struct nlmsghdr *header, struct hf_lock_view *view);
int hf_lock_read_elements(
	const struct nlmsghdr *header, enum hf_lock_set_kind kind, struct hf_lock_view *view);

/* To be called when everything was read, and before the next two. */
void hf_lock_view_sort(struct hf_lock_view *view);

/* True if a socket with these addresses is one of the lock's connections, or of its listeners. */
bool hf_lock_has_conn(const struct hf_lock_view *view, enum hf_family family,
	const struct hf_endpoint *local, const struct hf_endpoint *peer);
bool hf_lock_has_listener(
	const struct hf_lock_view *view, enum hf_family family, const struct hf_endpoint *local);

void hf_lock_view_clear(struct hf_lock_view *view);

#endif
