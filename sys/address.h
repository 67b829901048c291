/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_ADDRESS_H
#define HF_SYS_ADDRESS_H

/* struct hf_endpoint from and to struct sockaddr_in and sockaddr_in6. */
#include <sys/socket.h>

#include "lib/conn.h"

/* Fills *to, all of it, and returns the length that the family uses. */
socklen_t hf_address_make(
	struct sockaddr_storage *to, enum hf_family family, const struct hf_endpoint *from);

/* Fills *to; returns the family. */
enum hf_family hf_address_read(struct hf_endpoint *to, const struct sockaddr_storage *from);

#endif
