/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicctl: the words of the command line, and what runs for them. */
#include "config.h"

#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/cli.h"

static const struct cli_command commands[] = {
	{ "status", NULL, cmd_status, 0, 0, "" },
	{ "nic", "show", cmd_nic_show, 0, 1, "[NAME | ADDRESS]" },
	{ "nic", "drain", cmd_nic_drain, 1, 1, "NAME | ADDRESS" },
	{ "nic", "undrain", cmd_nic_undrain, 1, 1, "NAME | ADDRESS" },
	{ "segment", "show", cmd_segment_show, 0, 1, "[NAME]" },
	{ "class", "show", cmd_class_show, 0, 1, "[NAME]" },
	{ "port", "show", cmd_port_show, 0, 1, "[KEY | MAC | UUID | DOMAIN | NAME]" },
	{ "port", "add", cmd_port_add, 2, -1,
	  "uuid UUID mac MAC class CLASS [name NAME] [domain NAME] [pidfile FILE] "
	  "[queues N] [vlan N] [rate RATE] [weight N] [paths LIST] [standby ALIAS] "
	  "[type vhostuser | vdpa]" },
	{ "port", "del", cmd_port_del, 1, 1, "KEY | MAC | UUID | DOMAIN | NAME" },
	{ "port", "attach", cmd_port_attach, 1, -1,
	  "PORT | DOMAIN class CLASS [mac MAC] [name NAME] [queues N] [vlan N] [rate RATE] "
	  "[weight N] [paths LIST] [type vhostuser | vdpa]" },
	{ "port", "detach", cmd_port_detach, 1, 2, "PORT | DOMAIN MAC" },
	{ "domain", "check", cmd_domain_check, 1, 1, "DOMAIN" },
	{ "reload", NULL, cmd_reload, 0, 0, "" },
	{ "monitor", NULL, cmd_monitor, 0, 0, "[-n COUNT] [-t SECONDS]" },
	{ "diagnose", NULL, cmd_diagnose, 0, 0, "" },
};

static void usage(FILE *f)
{
	fputs("usage: vnicctl [-j | -p] [--dry-run] OBJECT [VERB] [ARGUMENT...]\n\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(f, "  %s%s%s%s%s\n", commands[i].object, commands[i].verb ? " " : "",
			commands[i].verb ? commands[i].verb : "", *commands[i].args ? " " : "",
			commands[i].args);
	fputs("\n"
	      "  -j, --json     JSON on one line     -p, --pretty   JSON for reading\n"
	      "      --dry-run  say what would be done, and do nothing\n"
	      "  -h, --help     -V, --version\n"
	      "'show' may be left out. Exit status: 0 done, 1 vnicd reported a failure, 2 usage,\n"
	      "3 vnicd does not run, 4 not found, 5 not allowed, 6 in use or busy, 7 timeout.\n",
	      f);
}

static int usage_error(const struct cli *cli, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static int usage_error(const struct cli *cli, const char *fmt, ...)
{
	char text[VNIC_ERR_MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_fail(cli, VNIC_E_INVALID_ARGUMENT, "%s", text);
	return CLI_USAGE;
}

/* The command for OBJECT [VERB]; *ret_words tells how many words it took. */
static const struct cli_command *find(int argc, char **argv, int *ret_words)
{
	const struct cli_command *show = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct cli_command *c = &commands[i];

		if (strcmp(c->object, argv[0]) != 0)
			continue;
		if (!c->verb || (argc > 1 && !strcmp(c->verb, argv[1]))) {
			*ret_words = c->verb ? 2 : 1;
			return c;
		}
		if (!strcmp(c->verb, "show"))
			show = c;
	}
	*ret_words = 1;
	return show;
}

static bool object_known(const char *object)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].object, object))
			return true;
	return false;
}

/* "show, add, del": what may stand behind @object */
static const char *verbs(const char *object, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(commands) && n < size; i++)
		if (!strcmp(commands[i].object, object) && commands[i].verb)
			n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "",
					      commands[i].verb);
	return buf;
}

static int run(struct cli *cli, int argc, char **argv)
{
	char list[80];
	const struct cli_command *c;
	int words;

	if (argc == 0 && cli->json)
		return usage_error(cli, "an object is missing; 'vnicctl --help' lists them");
	if (argc == 0) {
		usage(stderr);
		return CLI_USAGE;
	}
	c = find(argc, argv, &words);
	if (!c && !object_known(argv[0]))
		return usage_error(cli,
				   "\"%s\" is no object of vnicctl; 'vnicctl --help' lists them",
				   argv[0]);
	if (!c)
		return usage_error(cli, "%s needs a verb: %s", argv[0],
				   verbs(argv[0], list, sizeof(list)));
	/* A word in the verb's place is a name to show, unless more follows. */
	if (c->verb && words == 1 && argc > 2)
		return usage_error(cli, "\"%s\" is no verb of %s, which has %s", argv[1], argv[0],
				   verbs(argv[0], list, sizeof(list)));
	argc -= words;
	argv += words;
	if (argc < c->min_args || (c->max_args >= 0 && argc > c->max_args))
		return usage_error(cli, "usage: vnicctl %s%s%s%s%s", c->object, c->verb ? " " : "",
				   c->verb ? c->verb : "", *c->args ? " " : "", c->args);
	if ((cli->count || cli->seconds) && c->run != cmd_monitor)
		return usage_error(cli, "-n and -t belong to 'vnicctl monitor'");
	return c->run(cli, argc, argv);
}

static int number(const struct cli *cli, char option, const char *text, long *ret)
{
	uint64_t v;

	if (u64_parse(text, 1, 1000000000, &v) < 0)
		return usage_error(cli, "-%c %s: not a number from 1 to 1000000000", option, text);
	*ret = (long)v;
	return 0;
}

static void look_at_terminal(struct cli *cli)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
	struct winsize w;

	if (!isatty(STDOUT_FILENO))
		return;
	cli->color = (!no_color || !*no_color) && term && strcmp(term, "dumb") != 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0)
		cli->width = w.ws_col;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },	  { "pretty", no_argument, NULL, 'p' },
		{ "dry-run", no_argument, NULL, 'd' },	  { "count", required_argument, NULL, 'n' },
		{ "time", required_argument, NULL, 't' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },	  { NULL, 0, NULL, 0 },
	};
	struct cli cli = { 0 };
	const char *bad = NULL;
	int o, status = 0;

	setlocale(LC_CTYPE, "");
	look_at_terminal(&cli);
	opterr = 0; /* errors have one form, with -j too */
	while (status == 0 && (o = getopt_long(argc, argv, ":jpn:t:hV", options, NULL)) != -1) {
		switch (o) {
		case 'p':
			cli.pretty = true;
			cli.json = true;
			break;
		case 'j':
			cli.json = true;
			break;
		case 'd':
			cli.dry_run = true;
			break;
		case 'n':
			status = number(&cli, 'n', optarg, &cli.count);
			break;
		case 't':
			status = number(&cli, 't', optarg, &cli.seconds);
			break;
		case 'h':
			usage(stdout);
			return CLI_OK;
		case 'V':
			puts("vnicctl " PACKAGE_VERSION);
			return CLI_OK;
		default:
			bad = bad ? bad : argv[optind - 1];
		}
	}
	if (status == 0 && bad)
		status = usage_error(&cli,
				     "option %s is not known, or lacks its value; 'vnicctl --help' "
				     "lists them",
				     bad);
	else if (status == 0)
		status = run(&cli, argc - optind, argv + optind);
	sd_bus_flush_close_unref(cli.bus);
	/* A result that could not be written is not a result. */
	if (fflush(stdout) != 0 || ferror(stdout))
		return status ? status : CLI_FAILED;
	return status;
}
