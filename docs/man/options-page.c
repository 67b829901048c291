// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Prints holdfast-options(7) from the option table. `make update-options-page` writes it to
 * docs/man/holdfast-options.7, and `make check` sees that the two agree.
 */
#include <stdio.h>
#include <string.h>

#include "lib/sockopt.h"

static const char head[] =
	".\\\" SPDX-License-Identifier: GPL-2.0-or-later\n"
	".\\\" Made from lib/sockopt_table.h by docs/man/options-page.c: make update-options-page\n"
	".Dd November 23, 2026\n"
	".Dt HOLDFAST-OPTIONS 7\n"
	".Os\n"
	".Sh NAME\n"
	".Nm holdfast-options\n"
	".Nd socket options over checkpoint and restore\n"
	".Sh DESCRIPTION\n"
	"A TCP socket comes back with the options that it had:\n"
	"CRIU sets some of them, and\n"
	".Xr holdfast 8\n"
	"sets the others that can be read and set on Linux 6.18.\n"
	"This page lists all options of the levels TCP, SOL_SOCKET, IP and IPv6.\n"
	".Pp\n"
	"The image holds an option only if its value is not the base value given below.\n"
	"So an option is the same after the restore, also where a sysctl of the other host gives\n"
	"new sockets another value.\n"
	".Pp\n"
	"An option that the kernel does not know is left out at dump.\n"
	"At restore a warning in the log names those that the kernel does not know or take,\n"
	"and the socket is restored without them;\n"
	"only where the peer would miss one is the restore refused.\n";

static const char tail[] = ".Sh SEE ALSO\n"
			   ".Xr ip 7 ,\n"
			   ".Xr ipv6 7 ,\n"
			   ".Xr socket 7 ,\n"
			   ".Xr tcp 7 ,\n"
			   ".Xr holdfast 8\n";

static const char *sockets(const struct hf_sockopt *row)
{
	if (row->on == HF_SOCKOPT_ON_CONNECTION)
		return "connections";
	if (row->on == HF_SOCKOPT_ON_LISTENER)
		return "listeners";
	if (row->on == HF_SOCKOPT_ON_UNCONNECTED)
		return "listeners and closed sockets";
	if (row->on == HF_SOCKOPT_ON_CLOSED)
		return "closed sockets";
	return NULL;
}

static void print_base(const struct hf_sockopt *row)
{
	struct hf_option base;
	char text[HF_OPTION_TEXT];

	if (hf_sockopt_base(row, HF_FAMILY_IPV4, &base))
		printf("Base %s", strchr(hf_option_format(text, &base), '=') + 1);
	else
		printf("Base none");
	if (row->flags & HF_SOCKOPT_ZERO_IPV6)
		printf(", of IPv6 sockets 0");
}

static void print_carried(const struct hf_sockopt *row)
{
	print_base(row);
	if (sockets(row))
		printf("; on %s", sockets(row));
	if (row->flags & HF_SOCKOPT_CRIU_IPV4)
		printf("; on IPv6 sockets, since CRIU does it on IPv4 ones");
	printf(".\n");
}

/* A note is part of a sentence; a line must not begin with a dot or a quote. */
static void print_note(const struct hf_sockopt *row)
{
	if (row->note[0] >= 'a' && row->note[0] <= 'z')
		printf("%c%s.\n", row->note[0] - 'a' + 'A', row->note + 1);
	else if (row->note[0])
		printf("%s.\n", row->note);
}

static void print_section(const char *title, enum hf_sockopt_carrier carrier)
{
	const struct hf_sockopt *last = NULL;

	printf(".Sh %s\n", title);
	for (unsigned int i = 0; i < hf_n_sockopts; i++) {
		const struct hf_sockopt *row = &hf_sockopts[i];

		if (row->carrier != carrier)
			continue;
		if (!last || row->level != last->level)
			printf("%s.Ss %s\n.Bl -tag -width Ds -compact\n", last ? ".El\n" : "",
				hf_sockopt_level_name(row->level));
		printf(".It Dv %s\n", row->name);
		if (carrier == HF_SOCKOPT_HOLDFAST)
			print_carried(row);
		print_note(row);
		last = row;
	}
	printf(".El\n");
}

int main(void)
{
	fputs(head, stdout);
	print_section("OPTIONS THAT HOLDFAST CARRIES", HF_SOCKOPT_HOLDFAST);
	print_section("OPTIONS THAT CRIU CARRIES", HF_SOCKOPT_CRIU);
	print_section("OPTIONS THAT ARE PART OF A CONNECTION'S STATE", HF_SOCKOPT_STATE);
	print_section("OPTIONS THAT ARE NOT CARRIED", HF_SOCKOPT_NOBODY);
	fputs(tail, stdout);
	return fflush(stdout) != 0;
}
