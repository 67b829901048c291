// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/kick.h"

#include <unistd.h>

#include "lib/kick.h"
#include "sys/raw_socket.h"

#define AT_ONCE  32   /* peers */
#define PAUSE_US 1000 /* between so many */

static void kick(struct hf_raw *raw, const struct hf_conn *conn)
{
	uint8_t packet[HF_KICK_SIZE];
	size_t len = hf_kick_build(packet, conn);
	const struct hf_segment ack = hf_kick_ack(conn);

	hf_raw_send(raw, &ack, NULL);
	for (int i = 0; i < HF_KICKS; i++)
		hf_raw_send_packet(raw, conn->family, &conn->peer, packet, len, NULL);
}

void hf_kick_all(int netns, const struct hf_conn *conns, uint32_t n)
{
	struct hf_raw raw = HF_RAW_UNMARKED(netns);
	uint32_t kicked = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!hf_kick_wanted(&conns[i]))
			continue;
		kick(&raw, &conns[i]);
		if (++kicked % AT_ONCE == 0)
			usleep(PAUSE_US);
	}
	hf_raw_close(&raw);
}
