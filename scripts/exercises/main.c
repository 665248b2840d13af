/*
 * A workout: what programs ask of a processor and a kernel, one exercise in each process.
 *
 *     workout NAME SCRATCH     one line: NAME, ok or fail or unsupported, and a detail
 *     workout --list           the names of all exercises
 *
 * An exercise that dies, or does not end, says nothing: whoever started it tells that.
 */
#include "base.h"

static const struct exercise *const groups[] = {
	memory_exercises, thread_exercises, process_exercises, signal_exercises, jit_exercises,
	file_exercises, kernel_exercises, network_exercises, processor_exercises, speed_exercises,
};

static void list(void)
{
	for (int i = 0; i < COUNT(groups); i++)
		for (const struct exercise *each = groups[i]; each->name; each++) {
			say(each->name);
			say("\n");
		}
}

NORETURN static void run(const char *wanted)
{
	for (int i = 0; i < COUNT(groups); i++)
		for (const struct exercise *each = groups[i]; each->name; each++)
			if (equal(each->name, wanted)) {
				name = each->name;
				each->run();
				result("ok", "", 0);
			}
	name = wanted;
	unsupported("this workout has no such exercise", 0);
}

NORETURN __attribute__((used)) void workout_main(long *stack)
{
	long count = argument_count = stack[0];
	char **arguments = (char **)(stack + 1);

	environment = arguments + count + 1;
	auxiliary = (word *)environment;
	while (*auxiliary)
		auxiliary++;
	auxiliary++;
	myself = arguments[0];
	if (count > 2)
		scratch = arguments[2];
	if (count > 1 && arguments[1][0] == ':')
		be_helper(arguments[1], count > 2 ? arguments[2] : "");
	else if (count > 1 && equal(arguments[1], "--list")) {
		list();
		leave(0);
	} else if (count > 1)
		run(arguments[1]);
	leave(2);
}
