/*
 * Copyright (c) 2026, poolwright.virt contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Called as one of LVM's tools: has the shell of lvm_shell.py do the command, with the outputs that it was given itself. What
 * a line of that shell cannot hold is done by the tool.
 */

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NO_ANSWER 125

static int done_by_the_tool(char **arguments)
{
    execv(LVM, arguments);
    return NO_ANSWER;
}

int main(int count, char **arguments)
{
    static char line[1 << 17];
    size_t length = 0;
    const char *name = strrchr(arguments[0], '/');
    if (name)
        arguments[0] = (char *)name + 1;
    for (int number = 0; number < count; number++) {
        size_t more = strlen(arguments[number]);
        if (!more || strpbrk(arguments[number], " \t\n\"'") || length + more + 1 > sizeof line)
            return done_by_the_tool(arguments);
        memcpy(line + length, arguments[number], more);
        length += more;
        line[length++] = ' ';
    }

    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SHELL};
    int shell = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (shell < 0 || connect(shell, (struct sockaddr *)&address, sizeof address))
        return done_by_the_tool(arguments);
    int outputs[] = {STDOUT_FILENO, STDERR_FILENO};
    char control[CMSG_SPACE(sizeof outputs)] = {0};
    struct iovec text = {line, length};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof outputs);
    memcpy(CMSG_DATA(head), outputs, sizeof outputs);
    unsigned char status;
    if (sendmsg(shell, &message, 0) < 0 || read(shell, &status, 1) != 1)
        return NO_ANSWER;
    return status;
}
