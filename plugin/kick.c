// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/kick.h"

#include <unistd.h>

#include "lib/kick.h"
#include "sys/clock.h"
#include "sys/raw_socket.h"

#define ACKS_AT_ONCE  256
#define KICKS_AT_ONCE 32   /* peers */
#define PAUSE_US      1000 /* between so many */
/*
 * The window is told twice: where the first word is lost, a peer that has paused asks for it as
 * late as one that sends again would try, after as long as the outage has lasted. When the network
 * is new, more than a few packets are lost until the way to the first router is known.
 */
#define AGAIN_US 20000

void hf_wake_note(struct hf_conn *shared, const struct hf_conn *conn)
{
	struct hf_conn hidden = *conn;

	hidden.state = 0;
	__atomic_store_n(&shared->state, 0, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*shared = hidden;
	__atomic_store_n(&shared->state, conn->state, __ATOMIC_RELEASE);
}

/* What our kernel sends again meanwhile has a later timestamp, but tells no window that counts: it
 * begins before what the peer expects. Linux takes a segment without one. */
void hf_wake_open(struct hf_raw *raw, const struct hf_conn *conn)
{
	struct hf_segment ack = hf_kick_ack(conn);

	ack.has_timestamps = false;
	if (hf_kick_wanted(conn))
		hf_raw_send(raw, &ack, NULL);
}

static void open_window(const struct hf_wake *wake, struct hf_raw *raw, const struct hf_conn *conn)
{
	(void)wake;
	hf_wake_open(raw, conn);
}

/* Others may insist on one (RFC 7323 section 3.2). */
static void open_again(const struct hf_wake *wake, struct hf_raw *raw, const struct hf_conn *conn)
{
	const struct hf_segment ack = hf_kick_ack(conn);

	(void)wake;
	hf_raw_send(raw, &ack, NULL);
}

static void kick(const struct hf_wake *wake, struct hf_raw *raw, const struct hf_conn *conn)
{
	uint8_t packet[HF_KICK_SIZE];
	size_t len = hf_kick_build(packet, conn);

	for (unsigned int i = hf_kick_count(wake->outage_s); i > 0; i--)
		hf_raw_send_packet(raw, conn->family, &conn->peer, packet, len, NULL);
}

static void for_all(const struct hf_wake *wake, struct hf_raw *raw,
	void (*tell)(const struct hf_wake *wake, struct hf_raw *raw, const struct hf_conn *conn),
	uint32_t at_once)
{
	uint32_t told = 0;

	for (uint32_t i = 0; i < wake->n; i++) {
		if (!hf_kick_wanted(&wake->conns[i]))
			continue;
		tell(wake, raw, &wake->conns[i]);
		if (++told % at_once == 0)
			usleep(PAUSE_US);
	}
}

static void wait_until(uint64_t when_us)
{
	uint64_t now_us = hf_now_us();

	if (now_us < when_us)
		usleep((useconds_t)(when_us - now_us));
}

void hf_wake_peers(const struct hf_wake *wake)
{
	struct hf_raw raw = HF_RAW_UNMARKED(wake->netns);
	uint64_t start_us = hf_now_us();

	if (!wake->opened)
		for_all(wake, &raw, open_window, ACKS_AT_ONCE);
	if (wake->kick)
		for_all(wake, &raw, kick, KICKS_AT_ONCE);
	if (wake->paused) {
		wait_until(start_us + AGAIN_US);
		for_all(wake, &raw, open_again, ACKS_AT_ONCE);
	}
	hf_raw_close(&raw);
}
