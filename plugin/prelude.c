// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/prelude.h"

#include <stdlib.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/kick.h"
#include "lib/prelude.h"
#include "plugin/kick.h"
#include "sys/clock.h"
#include "sys/net_addresses.h"
#include "sys/tcp_peek.h"

#define PARTS     4    /* of the wait: how soon those that still send are looked at again */
#define SILENT_US 2000 /* for telling those that are not sending */

struct hf_prelude_peer {
	struct hf_tcp_pulse pulse; /* when looked at last */
	uint32_t acked;            /* what the peer was told last: our rcv_nxt */
	bool told;
	bool moved;   /* something has arrived since */
	bool is_near; /* not to be told */
};

/* The state that the first look shows is of the moment of the collection. */
bool hf_prelude_needed(const struct hf_image *image)
{
	for (uint32_t i = 0; i < image->n_conns; i++)
		if (hf_prelude_wanted(&image->conns[i]))
			return true;
	return false;
}

static void acknowledge(struct hf_prelude *prelude, const struct hf_conn *conn)
{
	const struct hf_segment ack = hf_kick_ack(conn);

	hf_raw_send(&prelude->raw, &ack, NULL);
}

static void go_on(struct hf_prelude *prelude, uint32_t i, const struct hf_conn *conn)
{
	acknowledge(prelude, conn);
	prelude->peers[i].told = false;
	__atomic_add_fetch(&prelude->n_reopened, 1, __ATOMIC_RELAXED);
}

/* Looks at a connection, and tells its peer unless that is silent. Its wait, or 0 where the peer
 * was not told. */
static uint64_t tell(struct hf_prelude *prelude, const struct hf_prelude_with *with, uint32_t i,
	uint32_t silent_ms)
{
	struct hf_prelude_peer *peer = &prelude->peers[i];
	struct hf_conn conn = with->image->conns[i];
	struct hf_segment ack;
	struct hf_rtt rtt;
	uint64_t wait_us;

	if (hf_tcp_peek(with->socks[i], &conn, silent_ms, &peer->pulse, &rtt, NULL) != 0)
		return 0;
	wait_us = hf_prelude_wait_us(&rtt, 1000ull * with->limit_ms);
	if (!hf_prelude_wanted(&conn) || wait_us == 0) {
		if (peer->told && hf_kick_wanted(&conn))
			go_on(prelude, i, &conn);
		return 0;
	}
	conn.peer_paused = true;
	conn.rtt_us = hf_rtt_us(&rtt);
	hf_wake_note(&with->shared[i], &conn);
	ack = hf_prelude_ack(&conn);
	if (hf_raw_send(&prelude->raw, &ack, NULL) < 0)
		return 0;
	peer->acked = ack.ack;
	peer->told = true;
	return wait_us;
}

/* Those that have sent lately, or all others, until a time. How long to wait then: as the one that
 * is furthest away needs, or at least so long. */
static uint64_t tell_some(struct hf_prelude *prelude, const struct hf_prelude_with *with,
	uint32_t silent_ms, uint64_t until_us, uint64_t wait_us)
{
	for (uint32_t i = 0; i < with->image->n_conns; i++) {
		uint64_t needs_us;

		if (with->socks[i] < 0 || prelude->peers[i].told || prelude->peers[i].is_near ||
			!hf_prelude_wanted(&with->image->conns[i]))
			continue;
		if (hf_now_us() > until_us)
			break;
		needs_us = tell(prelude, with, i, silent_ms);
		prelude->n_told += prelude->peers[i].told;
		wait_us = needs_us > wait_us ? needs_us : wait_us;
	}
	return wait_us;
}

/*
 * Each costs some microseconds, in which the tasks stand still. For those that are sending that is
 * well spent. The others gain only if they begin to send during the outage, so they get the time in
 * which we wait for the former anyway, or a little.
 */
static uint64_t tell_all(
	struct hf_prelude *prelude, const struct hf_prelude_with *with, uint64_t end_us)
{
	uint64_t wait_us = tell_some(prelude, with, HF_SILENT_MS, end_us, 0);
	uint64_t until_us = hf_now_us() + (wait_us > SILENT_US ? wait_us : SILENT_US);

	return tell_some(prelude, with, UINT32_MAX, until_us < end_us ? until_us : end_us, wait_us);
}

/* At all, or at those that have moved before. True if something has arrived since the last look. */
static bool look(struct hf_prelude *prelude, const struct hf_prelude_with *with, bool at_all)
{
	bool any = false;

	for (uint32_t i = 0; i < with->image->n_conns; i++) {
		struct hf_prelude_peer *peer = &prelude->peers[i];
		struct hf_tcp_pulse now;

		if (!peer->told || !(at_all || peer->moved) ||
			hf_tcp_pulse(with->socks[i], &now, NULL) < 0)
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
static void wait_for_all(struct hf_prelude *prelude, const struct hf_prelude_with *with,
	uint64_t wait_us, uint64_t end_us)
{
	bool moving;

	usleep((useconds_t)wait_us);
	moving = look(prelude, with, true);
	while (moving && hf_now_us() + wait_us / PARTS <= end_us) {
		usleep((useconds_t)(wait_us / PARTS));
		moving = look(prelude, with, false);
	}
}

static void tell_again(struct hf_prelude *prelude, const struct hf_prelude_with *with)
{
	for (uint32_t i = 0; i < with->image->n_conns; i++)
		if (prelude->peers[i].moved)
			tell(prelude, with, i, UINT32_MAX);
}

/*
 * Those that are in this namespace themselves, on whichever address. The lock does not hold what is
 * sent to them, and with our mark it would pass the lock of a container that waits for its restore.
 */
static int leave_out_neighbours(struct hf_prelude *prelude, const struct hf_prelude_with *with)
{
	hf_autofree struct hf_address *here = NULL;
	uint32_t n = 0;
	int ret = hf_net_addresses(with->netns, HF_MAX_ADDRESSES, &here, &n, NULL);

	for (uint32_t i = 0; i < with->image->n_conns && ret == 0; i++)
		for (uint32_t k = 0; k < n; k++)
			prelude->peers[i].is_near |=
				hf_prelude_is_at(&with->image->conns[i], &here[k]);
	return ret;
}

void hf_prelude(struct hf_prelude *prelude, const struct hf_prelude_with *with)
{
	uint64_t start = hf_now_us(), end_us = start + 1000ull * with->limit_ms, wait_us;

	prelude->raw = HF_RAW_INIT(with->netns);
	prelude->peers = calloc(with->image->n_conns, sizeof(*prelude->peers));
	if (!prelude->peers || leave_out_neighbours(prelude, with) < 0)
		return;
	hf_raw_open(&prelude->raw);
	wait_us = tell_all(prelude, with, end_us);
	if (prelude->n_told) {
		wait_for_all(prelude, with, wait_us, end_us);
		tell_again(prelude, with);
	}
	prelude->took_us = hf_now_us() - start;
}

/*
 * Who is too far away to be told, and is sending, hears at least how much has arrived: the lock has
 * kept our kernel's acknowledgements. One of something new after the outage would make it send what
 * is new first, and what is missing a round trip later (RFC 5682), and make it deaf to errors.
 */
void hf_prelude_check(struct hf_prelude *prelude, uint32_t i, struct hf_conn *conn)
{
	const struct hf_prelude_peer *peer = prelude->peers ? &prelude->peers[i] : NULL;

	if (!peer || !hf_kick_wanted(conn))
		return;
	conn->peer_paused = peer->told && peer->acked == conn->recv.seq;
	if (peer->told && !conn->peer_paused)
		go_on(prelude, i, conn);
	else if (!peer->told && !peer->is_near && hf_prelude_wanted(conn) && hf_kick_at_once(conn))
		acknowledge(prelude, conn);
}

void hf_prelude_end(struct hf_prelude *prelude)
{
	hf_raw_close(&prelude->raw);
	free(prelude->peers);
	prelude->peers = NULL;
}
