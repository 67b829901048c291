/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_RESEND_H
#define HF_PLUGIN_RESEND_H

#include <stdint.h>

#include "lib/conn.h"
#include "lib/resend.h"
#include "sys/raw_socket.h"

/* Sends again what was under way, as planned: of a socket that has just been resumed. */
void hf_resend(struct hf_raw *raw, int sock, const struct hf_conn *conn,
	const struct hf_resend_plan *plan);

/* Sees to it that everything has gone out, when all have been started. */
void hf_resend_finish(const int *socks, const struct hf_conn *conns,
	const struct hf_resend_plan *plans, uint32_t n);

#endif
