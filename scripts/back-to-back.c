/* Runs the given programs one after the other: what proving platforms costs at the least when
 * nothing is done at once. The yardstick of `binfmt-setup check` in scripts/bench.
 *
 * Each gets what a probe gets from the tool: argv[0] and one argument, an empty environment,
 * an input that ends. Exit status: how many of them failed.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

int main(int count, char **programs)
{
    char *arguments[] = {"binfmt-setup-probe", "one", NULL};
    char *environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    int failed = 0;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    for (int index = 1; index < count; index++) {
        pid_t child;
        int status = 1;
        if (posix_spawn(&child, programs[index], &actions, NULL, arguments, environment) == 0)
            waitpid(child, &status, 0);
        failed += status != 0;
    }
    return failed;
}
