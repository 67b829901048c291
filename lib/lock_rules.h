/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_LOCK_RULES_H
#define HF_LIB_LOCK_RULES_H

/* clang-format off: a table
 *
 * The transitional lock as one nftables batch (lib/nft_batch.h).
 *
 * In the connections' network namespace one table `inet holdfast-<id>`:
 *   sets    conn4, conn6      (peer address . peer port . local address . local port) of
 *                             connections
 *           listen4, listen6  (address . port) of listeners bound to one address
 *           port4, port6      (port) of listeners bound to all addresses
 *   chains  input             held packets, and new SYNs to the listeners, are dropped
 *           output            held packets are dropped, but on the loopback device: a peer in the
 *                             same stack whose own output is dropped would not count its
 *                             retransmissions
 *           restore           no hook; its comment says which restore has found the lock there
 *
 * On the host the same, but the elements expire; port4 and port6 are empty, since other programs
 * listen there; and the packets are those of the way to the namespace:
 *   chains  input             to a published port (aliases of the image) whose translation is
 *                             gone with the container, or where the way to it is gone
 *           forward           from and to other hosts, both directions
 *           output            of peers on this host. Not on the loopback device, for the reason
 *                             above, nor to a bridge: that is held in the table
 *   `bridge holdfast-<id>`    whose output chain drops what the sender thinks is sent, and whose
 *                             forward chain holds peers on the same bridge
 *
 * Packets with the mark HF_MARK or HF_MARK_CRIU pass, those with HF_MARK_MUTE are dropped. The
 * table's comment says who made it, when and why.
 */
/* clang-format on */
#include <stdbool.h>
#include <stdint.h>

#include "lib/error.h"
#include "lib/image.h"
#include "lib/lock_keys.h"
#include "lib/nft_batch.h"

/* Packet marks: of segments that holdfast itself makes, which pass; of those that CRIU makes when
 * it restores a state itself, which pass (its SOCCR_MARK); of a socket that is being rebuilt, of
 * which nothing goes out. */
#define HF_MARK         0x48465354u
#define HF_MARK_CRIU    0xc114u
#define HF_MARK_MUTE    0x48464d55u
#define HF_TABLE_PREFIX "holdfast-"
#define HF_TABLE_NAME                                                                              \
	(sizeof(HF_TABLE_PREFIX) + HF_ID_TEXT) /* bytes of a table name, with its end */
#define HF_LOCK_NOTE_CHAIN "restore"

struct hf_lock {
	enum hf_lock_place place;
	const struct hf_image *image; /* id, connections, listeners, addresses */
	const char *comment;          /* at most 120 characters are kept */
	uint32_t timeout_s;           /* of the elements; 0: they do not expire */
	bool input_open;              /* packets of the peers pass, until hf_lock_rules_close() */
	bool no_bridge;               /* the kernel has no bridge family: output holds it all */
};

/* The tables of a lock, by family. */
enum hf_lock_table { HF_LOCK_INET, HF_LOCK_BRIDGE, HF_LOCK_TABLES };
extern const uint16_t hf_lock_families[HF_LOCK_TABLES]; /* NFPROTO_* */

/*
 * The batch that makes the lock. It fails to apply with EEXIST where it is there. Returns 1, and
 * no batch, where on the host there is nothing to hold.
 */
int hf_lock_rules_add(struct hf_batch *batch, const struct hf_lock *lock, struct hf_error *err);

/*
 * The batch that closes the input of a lock which was made with it open, in the connections'
 * network namespace. What it makes is the lock that there would be without that, and once more does
 * no harm.
 */
int hf_lock_rules_close(struct hf_batch *batch, const struct hf_image *image, struct hf_error *err);

/* The batch that removes one table of a lock. ENOENT where there is none. */
int hf_lock_rules_remove(struct hf_batch *batch, const uint8_t id[HF_ID_SIZE],
	enum hf_lock_table table, struct hf_error *err);

/* The same for several tables (bit 1 << enum hf_lock_table), where nothing has changed since this
 * generation of the rules. ERESTART where something has. */
int hf_lock_rules_remove_at(struct hf_batch *batch, const uint8_t id[HF_ID_SIZE],
	unsigned int tables, uint32_t generation, struct hf_error *err);

/* The batch that notes a restore in a lock that is there. EEXIST where there is a note already,
 * unless `again` replaces it. */
int hf_lock_rules_note(struct hf_batch *batch, const uint8_t id[HF_ID_SIZE], const char *comment,
	bool again, struct hf_error *err);

/* "holdfast-<id>" into buf. Returns buf. */
char *hf_table_name(char buf[HF_TABLE_NAME], const uint8_t id[HF_ID_SIZE]);

#endif
