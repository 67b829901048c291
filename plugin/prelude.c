// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/prelude.h"

#include <stdlib.h>
#include <unistd.h>

#include "lib/kick.h"
#include "lib/prelude.h"
#include "plugin/kick.h"
#include "sys/clock.h"
#include "sys/tcp_peek.h"

#define PARTS 4 /* of the wait, at the end of which everybody is looked at again */

struct hf_prelude_peer {
	struct hf_tcp_pulse pulse; /* when looked at last */
	uint32_t acked;            /* what the peer was told last: our rcv_nxt */
	bool told;
	bool moved; /* something has arrived since */
};

/* The state that the first look shows is of the moment of the collection. */
bool hf_prelude_needed(const struct hf_image *image)
{
	for (uint32_t i = 0; i < image->n_conns; i++)
		if (hf_prelude_wanted(&image->conns[i]))
			return true;
	return false;
}

/* Looks at a connection, and tells its peer. Its wait, or 0 where the peer was not told. */
static uint64_t tell(struct hf_prelude *prelude, const struct hf_prelude_with *with, uint32_t i)
{
	struct hf_prelude_peer *peer = &prelude->peers[i];
	struct hf_conn conn = with->image->conns[i];
	struct hf_segment ack;
	struct hf_rtt rtt;
	uint64_t wait_us;

	if (hf_tcp_peek(with->socks[i], &conn, &peer->pulse, &rtt, NULL) < 0 ||
		!hf_prelude_wanted(&conn))
		return 0;
	wait_us = hf_prelude_wait_us(&rtt);
	if (wait_us > 1000ull * with->limit_ms)
		return 0;
	hf_wake_note(&with->shared[i], &conn);
	ack = hf_prelude_ack(&conn);
	if (hf_raw_send(&prelude->raw, &ack, NULL) < 0)
		return 0;
	peer->acked = ack.ack;
	peer->told = true;
	return wait_us;
}

/* Everybody. How long to wait: as the one that is furthest away needs. */
static uint64_t tell_all(struct hf_prelude *prelude, const struct hf_prelude_with *with)
{
	uint64_t longest_us = 0;

	for (uint32_t i = 0; i < with->image->n_conns; i++) {
		uint64_t wait_us;

		if (with->socks[i] < 0 || !hf_prelude_wanted(&with->image->conns[i]))
			continue;
		wait_us = tell(prelude, with, i);
		prelude->n_told += prelude->peers[i].told;
		longest_us = wait_us > longest_us ? wait_us : longest_us;
	}
	return longest_us;
}

/* True if something has arrived since the last look. */
static bool look(struct hf_prelude *prelude, const struct hf_prelude_with *with)
{
	bool any = false;

	for (uint32_t i = 0; i < with->image->n_conns; i++) {
		struct hf_prelude_peer *peer = &prelude->peers[i];
		struct hf_tcp_pulse now;

		if (!peer->told || hf_tcp_pulse(with->socks[i], &now, NULL) < 0)
			continue;
		if (now.bytes == peer->pulse.bytes && now.out_of_order == peer->pulse.out_of_order)
			continue;
		peer->pulse = now;
		peer->moved = true;
		any = true;
	}
	return any;
}

/* After a round trip everything has arrived, unless our word was late or lost: as long as something
 * comes we go on, up to the limit. */
static void wait_for_all(
	struct hf_prelude *prelude, const struct hf_prelude_with *with, uint64_t wait_us)
{
	uint64_t end_us = hf_now_us() + 1000ull * with->limit_ms;
	bool moving;

	usleep((useconds_t)(wait_us - wait_us / PARTS));
	look(prelude, with);
	do {
		usleep((useconds_t)(wait_us / PARTS));
		moving = look(prelude, with);
	} while (moving && hf_now_us() + wait_us / PARTS <= end_us);
}

static void tell_again(struct hf_prelude *prelude, const struct hf_prelude_with *with)
{
	for (uint32_t i = 0; i < with->image->n_conns; i++)
		if (prelude->peers[i].moved)
			tell(prelude, with, i);
}

void hf_prelude(struct hf_prelude *prelude, const struct hf_prelude_with *with)
{
	uint64_t start = hf_now_us(), wait_us;

	prelude->raw = HF_RAW_INIT(with->netns);
	prelude->peers = calloc(with->image->n_conns, sizeof(*prelude->peers));
	if (!prelude->peers)
		return;
	wait_us = tell_all(prelude, with);
	if (prelude->n_told) {
		wait_for_all(prelude, with, wait_us);
		tell_again(prelude, with);
	}
	prelude->took_us = hf_now_us() - start;
}

void hf_prelude_check(struct hf_prelude *prelude, uint32_t i, const struct hf_conn *conn)
{
	struct hf_segment ack;

	if (!prelude->peers || !prelude->peers[i].told || !hf_kick_wanted(conn) ||
		prelude->peers[i].acked == conn->recv.seq)
		return;
	ack = hf_kick_ack(conn);
	hf_raw_send(&prelude->raw, &ack, NULL);
	prelude->n_reopened++;
}

void hf_prelude_end(struct hf_prelude *prelude)
{
	hf_raw_close(&prelude->raw);
	free(prelude->peers);
	prelude->peers = NULL;
}
