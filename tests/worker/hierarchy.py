"""Control groups of version 2 without a kernel: what may be done, and what is refused."""

import errno
import os
from pathlib import Path

TOP = Path("/sys/fs/cgroup")
TOLD = {
    "memory.stat": "anon 0\nactive_file 0\ninactive_file 0\n",
    "memory.events": "max 0\noom 0\noom_kill 0\n",
}


class Group:
    def __init__(self):
        self.pids, self.control = [], set()
        self.files = {"cgroup.type": "domain"}


class Hierarchy:
    """Stands in for the kernel. Groups in the outermost one may limit memory.

    Attributes:
        groups: By folder; the outermost one has no type.
        parents: Parents of the processes there are.
        locked: Paths whose change this user may not make.
        lacking: Files that this kernel does not have.
        on_write: Called before each write.
    """

    def __init__(self):
        top = Group()
        top.control = {"memory"}
        del top.files["cgroup.type"]
        self.groups = {TOP: top}
        self.parents = {}
        self.locked, self.lacking = set(), set()
        self.on_write = lambda path, text: None

    def process(self, pid, group, parent=1):
        self.parents[pid] = parent
        self.groups[group].pids.append(pid)

    def ended(self, pid):
        del self.parents[pid]
        self.where(pid).pids.remove(pid)

    def where(self, pid):
        return next(group for group in self.groups.values() if pid in group.pids)

    def state(self):
        return {
            path: (sorted(group.pids), set(group.control)) for path, group in self.groups.items()
        }

    # --- what processes can do --------------------------------------------------------------------

    def read(self, path):
        group = self._group(path.parent)
        if path.name == "cgroup.procs":
            return "".join(f"{pid}\n" for pid in group.pids)
        if path.name == "cgroup.controllers":
            return " ".join(sorted(self._controllers(path.parent)))
        if path.name == "cgroup.subtree_control":
            return " ".join(sorted(group.control))
        if not self._has(path):
            raise refusal(errno.ENOENT, path)
        return group.files.get(path.name, TOLD.get(path.name, "0\n"))

    def write(self, path, text):
        self.on_write(path, text)
        group = self._group(path.parent)
        if path in self.locked:
            raise refusal(errno.EACCES, path)
        if path.name == "cgroup.procs":
            if int(text) not in self.parents:
                raise refusal(errno.ESRCH, path)
            if group.control and path.parent != TOP:
                raise refusal(errno.EBUSY, path)
            self.where(int(text)).pids.remove(int(text))
            group.pids.append(int(text))
        elif path.name == "cgroup.subtree_control":
            self._divide(path, group, text)
        elif not self._has(path):
            raise refusal(errno.ENOENT, path)
        else:
            group.files[path.name] = text

    def _divide(self, path, group, text):
        sign, name = text[0], text[1:]
        if sign == "-":
            if any(name in self.groups[each].control for each in self.children(path.parent)):
                raise refusal(errno.EBUSY, path)
            group.control.discard(name)
            return
        if name not in self._controllers(path.parent):
            raise refusal(errno.ENOENT, path)
        if group.pids and path.parent != TOP:
            raise refusal(errno.EBUSY, path)
        group.control.add(name)

    def make(self, group):
        self._group(group.parent)
        if group in self.groups:
            raise refusal(errno.EEXIST, group)
        if group.parent in self.locked:
            raise refusal(errno.EACCES, group)
        self.groups[group] = Group()

    def remove(self, group):
        if self._group(group).pids or self.children(group):
            raise refusal(errno.EBUSY, group)
        del self.groups[group]

    def children(self, group):
        return [each for each in self.groups if each.parent == group != each]

    def parent(self, pid):
        if pid not in self.parents:
            raise refusal(errno.ENOENT, f"/proc/{pid}/stat")
        return self.parents[pid]

    def _group(self, path):
        if path not in self.groups:
            raise refusal(errno.ENOENT, path)
        return self.groups[path]

    def _controllers(self, path):
        return {"memory"} if path == TOP else self.groups[path.parent].control

    def _has(self, path):
        if path.name in self.lacking:
            return False
        if path.name.startswith("memory."):
            return path.parent != TOP and "memory" in self._controllers(path.parent)
        return path.name in self.groups[path.parent].files


def refusal(number, path):
    return OSError(number, os.strerror(number), str(path))
