#!/usr/bin/env bash
# Runs "$@" and makes sure that it does not outlive whoever holds the other end of descriptor 3.
#
# Started in a process group of its own with a socket as descriptor 3. Writes the child's process id to
# it, then waits. When the other end closes (its holder ended, was killed with -9, or let go), everything
# in this group is killed. Nothing but the holder's death is needed for that: no signal, no clean-up code.
"$@" 3<&- </dev/null &
child=$!
echo "$child" >&3
{ read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
watcher=$!
disown "$watcher" # or its end would be announced in the child's output
exec 3<&-
while :; do
  wait "$child"
  status=$?
  # A stop signal sent to the child makes wait return as well; only a process that is gone has ended.
  kill -0 "$child" 2>/dev/null || break
done
kill -KILL "$watcher" 2>/dev/null
exit "$status"
