// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/resend.h"

#include <unistd.h>

#include "sys/image_file.h"
#include "sys/tcp_repair.h"

/* A congestion control that paces lets a first window go within a millisecond. */
#define PACING_ATTEMPTS 5
#define PACING_US       1000

static uint32_t unsent(const struct hf_conn *conn)
{
	return conn->unsent + conn->fin_unsent;
}

/* The bytes are read once more, since few connections need it. */
static void send_tail(const struct hf_conn *conn, struct hf_raw *raw, int image)
{
	uint64_t at = conn->data_offset + conn->recv.len + hf_resend_tail_at(conn);
	uint8_t tail[HF_RESEND_TAIL_BYTES];

	if (hf_image_file_at(image, at, tail, sizeof(tail), NULL) < 0)
		return;
	for (unsigned int i = 0; i < HF_RESEND_TAIL_BYTES; i++) {
		const struct hf_segment segment = hf_resend_tail(conn, i, tail[i]);

		hf_raw_send(raw, &segment, NULL);
	}
}

static void send_duplicates(const struct hf_conn *conn, struct hf_raw *raw)
{
	const struct hf_segment segment = hf_resend_duplicate(conn);

	for (int i = 0; i < HF_RESEND_N_DUPLICATES; i++)
		hf_raw_send(raw, &segment, NULL);
}

void hf_resend(
	int sock, const struct hf_conn *conn, enum hf_resend how, struct hf_raw *raw, int image)
{
	if (how == HF_RESEND_HELD)
		hf_tcp_push(sock);
	else if (how == HF_RESEND_TAIL)
		send_tail(conn, raw, image);
	else if (how == HF_RESEND_DUPLICATES)
		send_duplicates(conn, raw);
}

void hf_resend_finish(
	const int *socks, const struct hf_conn *conns, const enum hf_resend *how, uint32_t n)
{
	int attempts = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (socks[i] < 0 || how[i] != HF_RESEND_HELD)
			continue;
		while (!hf_tcp_is_sent(socks[i], unsent(&conns[i])) && attempts++ < PACING_ATTEMPTS)
			usleep(PACING_US);
		if (!hf_tcp_is_sent(socks[i], unsent(&conns[i])))
			hf_tcp_count_as_sent(socks[i], conns[i].reuseaddr, NULL);
	}
}
