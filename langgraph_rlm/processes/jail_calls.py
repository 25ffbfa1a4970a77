"""System calls: their numbers on the machines that the jail knows, and who may make which.

The worker loads this file by its path: it imports nothing. Each item is `name:x86_64:aarch64`, with
`-` where a machine does not have the call. Sources: Linux 6.1, `asm/unistd_64.h` and
`asm-generic/unistd.h`.
"""

FREE = """
read:0:63 write:1:64 close:3:57 fstat:5:80 poll:7:- lseek:8:62 mmap:9:222 mprotect:10:226
munmap:11:215 brk:12:214 rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139
pread64:17:67 pwrite64:18:68 readv:19:65 writev:20:66 select:23:- sched_yield:24:124
mremap:25:216 msync:26:227 mincore:27:232 madvise:28:233 dup:32:23 dup2:33:- pipe:22:-
pause:34:- nanosleep:35:101 getitimer:36:102 alarm:37:- setitimer:38:103 getpid:39:172
exit:60:93 fsync:74:82 fdatasync:75:83 ftruncate:77:46 getdents:78:- getdents64:217:61
getcwd:79:17 chdir:80:49 fchdir:81:50 umask:95:166 gettimeofday:96:169 getrlimit:97:163
getrusage:98:165 times:100:153 getuid:102:174 getgid:104:176 geteuid:107:175 getegid:108:177
getppid:110:173 getpgrp:111:- getgroups:115:158 getresuid:118:148 getresgid:120:150
getpgid:121:155 getsid:124:156 rt_sigpending:127:136 rt_sigtimedwait:128:137
rt_sigsuspend:130:133 sigaltstack:131:132 statfs:137:43 fstatfs:138:44 gettid:186:178
futex:202:98 sched_getaffinity:204:123 fadvise64:221:223 clock_gettime:228:113
clock_getres:229:114 clock_nanosleep:230:115 exit_group:231:94 epoll_wait:232:- epoll_ctl:233:21
epoll_pwait:281:22 pselect6:270:72 ppoll:271:73 set_robust_list:273:99 sync_file_range:277:84
eventfd2:290:19 epoll_create1:291:20 dup3:292:24 pipe2:293:59 getrandom:318:278
membarrier:324:283 preadv:295:69 pwritev:296:70 rseq:334:293 close_range:436:436 uname:63:160
sysinfo:99:179 restart_syscall:219:128 getcpu:309:168 copy_file_range:326:285 fallocate:285:47
futex_waitv:449:449 epoll_pwait2:441:441 preadv2:327:286 pwritev2:328:287 sendfile:40:71
getpriority:140:141 stat:4:- lstat:6:- access:21:- readlink:89:- newfstatat:262:79
faccessat:269:48 faccessat2:439:439 readlinkat:267:78 statx:332:291 rename:82:- renameat:264:38
renameat2:316:276 mkdir:83:- mkdirat:258:34 rmdir:84:- unlink:87:- unlinkat:263:35 creat:85:-
symlink:88:- symlinkat:266:36 get_mempolicy:239:236 recvfrom:45:207
"""
"""Calls that guest code may make with any arguments.

They work on memory, time, its own descriptors, and on paths, which Landlock holds. Left out too are
hard links (`link`), and what Landlock does not see (`truncate`, `flock`, `chmod`, `utimensat`).
"""

RULED = """
open:2:- openat:257:56 clone:56:220 kill:62:129 tgkill:234:131 prlimit64:302:261 fcntl:72:25
ioctl:16:29 prctl:157:167 socketpair:53:199 sendto:44:206
"""
"""Calls that it may make with some arguments: `jail_filter.py` says which."""

ABSENT = """
clone3:435:435 openat2:437:437
"""
"""Calls that look as if this kernel were older, so that the C library takes another way.

Their arguments are in memory, where a filter cannot see them.
"""

ATTRIBUTES = """
setxattr:188:5 lsetxattr:189:6 fsetxattr:190:7 getxattr:191:8 lgetxattr:192:9 fgetxattr:193:10
listxattr:194:11 llistxattr:195:12 flistxattr:196:13 removexattr:197:14 lremovexattr:198:15
fremovexattr:199:16
"""
"""Calls that look as if the file system had no such attributes: `shutil.copy2` goes on then."""

OWN = """
socket:41:198 capget:125:90 capset:126:91 seccomp:317:277 landlock_create_ruleset:444:444
landlock_add_rule:445:445 landlock_restrict_self:446:446
"""
"""Calls that the jail makes itself, before it is closed."""

NEWEST = 450
"""Calls from here on are answered as by a kernel that does not have them."""

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Machines by their names in `os.uname`, with the kernel's number of their calls' convention."""


def numbers(items: str, machine: str) -> dict[str, int]:
    """Read the calls that a machine has from a table above."""
    column = list(MACHINES).index(machine)
    rows = [item.split(":") for item in items.split()]
    return {name: int(found[column]) for name, *found in rows if found[column] != "-"}
