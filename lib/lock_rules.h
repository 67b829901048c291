/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_LOCK_RULES_H
#define HF_LIB_LOCK_RULES_H

/* clang-format off: a table
 *
 * The transitional lock as one nftables batch in a buffer (netlink messages, nf_tables(7) wire
 * form).
 *
 * One table `inet holdfast-<id>`:
 *   sets    conn4, conn6      (peer address . peer port . local address . local port) of
 *                             connections
 *           listen4, listen6  (address . port) of listeners bound to one address
 *           port4, port6      (port) of listeners bound to all addresses
 *   chains  input             held packets, and new SYNs to the listeners, are dropped
 *           output            held packets are dropped, but on the loopback device: a peer in the
 *                             same stack whose own output is dropped would not count its
 *                             retransmissions
 * Packets with the mark HF_MARK or HF_MARK_CRIU pass, those with HF_MARK_MUTE are dropped. The
 * table's comment says who made it, when and why.
 *
 * The kernel applies a batch as a whole or not at all. The caller sends it in one message and needs
 * the acknowledgement of `last_seq`; any error in between means that nothing was applied.
 */
/* clang-format on */
#include <stddef.h>
#include <stdint.h>

#include "lib/conn.h"
#include "lib/error.h"
#include "lib/image.h"

/* Packet marks: of segments that holdfast itself makes, which pass; of those that CRIU makes when
 * it restores a state itself, which pass (its SOCCR_MARK); of a socket that is being rebuilt, of
 * which nothing goes out. */
#define HF_MARK         0x48465354u
#define HF_MARK_CRIU    0xc114u
#define HF_MARK_MUTE    0x48464d55u
#define HF_TABLE_PREFIX "holdfast-"
#define HF_TABLE_NAME                                                                              \
	(sizeof(HF_TABLE_PREFIX) + HF_ID_TEXT) /* bytes of a table name, with its end */

struct hf_lock {
	uint8_t id[HF_ID_SIZE];
	const char *comment;         /* at most 120 characters are kept */
	const struct hf_conn *conns; /* in any state: listeners and connections count */
	uint32_t n_conns;
};

/* Netlink messages one after another. Zero it before use; hf_batch_clear() frees it. */
struct hf_batch {
	uint8_t *data;
	size_t len;
	size_t room;
	uint32_t first_seq; /* of the batch's begin message; what a failing commit answers to */
	uint32_t last_seq;  /* of the message that asks for an acknowledgement */
};

/* The batch that makes the lock's table. It fails to apply with EEXIST where the table is there. */
int hf_lock_rules_add(struct hf_batch *batch, const struct hf_lock *lock, struct hf_error *err);

/* The batch that removes the table, and with it the lock. ENOENT where there is none. */
int hf_lock_rules_remove(
	struct hf_batch *batch, const uint8_t id[HF_ID_SIZE], struct hf_error *err);

/* "holdfast-<id>" into buf. Returns buf. */
char *hf_table_name(char buf[HF_TABLE_NAME], const uint8_t id[HF_ID_SIZE]);

void hf_batch_clear(struct hf_batch *batch);

#endif
