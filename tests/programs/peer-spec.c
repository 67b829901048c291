// SPDX-License-Identifier: GPL-2.0-or-later
/* What hf-peer connects: its --connect and --conn arguments. */
#include "peer.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char *const role_names[WIRE_ROLES] = {
	[WIRE_IDLE] = "idle",
	[WIRE_ECHO] = "echo",
	[WIRE_SOURCE] = "source",
	[WIRE_SINK] = "sink",
	[WIRE_DUPLEX] = "duplex",
	[WIRE_WAKE] = "wake",
	[WIRE_HOLD] = "hold",
};

static const struct {
	const char *name;
	size_t offset;
} params[] = {
	{"rate", offsetof(struct spec, rate)},
	{"chunk", offsetof(struct spec, chunk)},
	{"reading", offsetof(struct spec, reading)},
	{"size", offsetof(struct spec, size)},
	{"gap", offsetof(struct spec, gap)},
	{"in", offsetof(struct spec, in)},
	{"out", offsetof(struct spec, out)},
	{"hold_ms", offsetof(struct spec, hold_ms)},
	{"nagle", offsetof(struct spec, nagle)},
	{"sndbuf", offsetof(struct spec, sndbuf)},
	{"rcvbuf", offsetof(struct spec, rcvbuf)},
	{"flip_up", offsetof(struct spec, flip_up)},
	{"flip_down", offsetof(struct spec, flip_down)},
};

bool parse_target(const char *text, struct target *out)
{
	const char *address = strchr(text, '=');
	size_t label_len = address ? (size_t)(address - text) : 0;

	address = address ? address + 1 : text;
	if (label_len >= sizeof(out->label) || strpbrk(text, "\"\\") ||
		!parse_address(address, &out->addr, &out->addr_len)) {
		fprintf(stderr, "hf-peer: not a [LABEL=]ADDR:PORT: %s\n", text);
		return false;
	}
	out->text = address;
	if (label_len) {
		memcpy(out->label, text, label_len);
		out->label[label_len] = 0;
	} else {
		strcpy(out->label, out->addr.ss_family == AF_INET6 ? "IPv6" : "IPv4");
	}
	return true;
}

static bool set_target(const char *label, const struct target *targets, int n, struct spec *spec)
{
	for (int i = 0; i < n; i++) {
		if (!strcmp(targets[i].label, label)) {
			spec->target = i;
			return true;
		}
	}
	return false;
}

/* name=value, or "full": senders without a limit, slow readers, so that all queues fill. */
static bool set_param(char *text, const struct target *targets, int n, struct spec *spec)
{
	char *value = strchr(text, '=');
	uint64_t number;

	if (!strcmp(text, "full")) {
		spec->rate = 0;
		spec->reading = 1 << 20;
		/* Bounded, because at the end all of it must pass at the reader's speed. */
		spec->sndbuf = 256 << 10;
		return true;
	}
	if (!value)
		return false;
	*value++ = 0;
	if (!strcmp(text, "to"))
		return set_target(value, targets, n, spec);
	for (size_t i = 0; i < sizeof(params) / sizeof(*params); i++) {
		if (!strcmp(text, params[i].name) && parse_size(value, &number)) {
			memcpy((char *)spec + params[i].offset, &number, sizeof(number));
			return true;
		}
	}
	return false;
}

static bool set_role(const char *name, struct spec *spec)
{
	for (uint32_t i = 0; i < WIRE_ROLES; i++) {
		if (!strcmp(name, role_names[i])) {
			spec->role = i;
			return true;
		}
	}
	return false;
}

bool parse_spec(const char *text, const struct target *targets, int n_targets, struct spec *out)
{
	char copy[256], *count, *part, *rest = NULL;
	bool ok = strlen(text) < sizeof(copy);
	uint64_t number = 1;

	*out = (struct spec){
		.target = -1,
		.rate = 256 << 10,
		.size = 512,
		.gap = 20,
		.flip_up = -1,
		.flip_down = -1,
	};
	snprintf(copy, sizeof(copy), "%s", text);
	count = strchr(copy, '*');
	if (count) {
		*count++ = 0;
		ok = ok && parse_size(count, &number) && number > 0 && number <= 100000;
	}
	part = strtok_r(copy, ",", &rest);
	ok = ok && part && set_role(part, out);
	/* What the others send is bounded by itself. */
	if (out->role != WIRE_SOURCE && out->role != WIRE_SINK && out->role != WIRE_DUPLEX)
		out->rate = 0;
	while (ok && (part = strtok_r(NULL, ",", &rest)))
		ok = set_param(part, targets, n_targets, out);
	if (out->role <= WIRE_ECHO && !out->size)
		ok = false;
	out->count = (unsigned int)number;
	if (!ok)
		fprintf(stderr, "hf-peer: not a ROLE[,param=value...][*count]: %s\n", text);
	return ok;
}
