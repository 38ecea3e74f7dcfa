#!/bin/sh
# A PostgreSQL of one's own: fresh, on a socket in a folder of its own, with fsync, gone when standard input ends.
# Prints that folder once it answers. Root cannot run it: another account does then.
# postgres.sh [setting=value ...]
# On standard input, a line each: `kill` ends it as a power cut does (and says "killed"), `start` starts it again over the
# same data (and says "started"), `promote` makes a standby the primary (and says "promoted").
# POSTGRES_STANDBY_OF: the folder of another one, whose standby it is.
# POSTGRES_TLS: a folder with server.crt and server.key, which it then answers with.
set -eu

bin=$(for found in $(command -v postgres || true) /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres; do
  found=$(readlink -f "$found")
  [ -x "$(dirname "$found")/initdb" ] && dirname "$found"
done | tail -n 1)
[ -n "$bin" ] || { echo "PostgreSQL is missing.  apt-get install postgresql" >&2; exit 1; }

dir=$(mktemp -d /tmp/breakglass-pg.XXXXXX)
as=
if [ "$(id -u)" = 0 ]; then
  user=postgres
  id "$user" >/dev/null 2>&1 || user=nobody
  chown "$user" "$dir"
  as="setpriv --reuid=$user --regid=$(id -g "$user") --clear-groups --inh-caps=-all --"
fi
cd "$dir"
if [ -n "${POSTGRES_TLS:-}" ]; then
  cp "$POSTGRES_TLS/server.crt" "$POSTGRES_TLS/server.key" "$dir"
  chmod 600 "$dir/server.key"
  [ -z "${user:-}" ] || chown "$user" "$dir/server.crt" "$dir/server.key"
  set -- "$@" ssl=on "ssl_cert_file=$dir/server.crt" "ssl_key_file=$dir/server.key"
fi
trap 'rm -rf "$dir"' EXIT

if [ -n "${POSTGRES_STANDBY_OF:-}" ]; then
  $as "$bin/pg_basebackup" -D "$dir/data" -h "$POSTGRES_STANDBY_OF" -U breakglass -R -c fast >"$dir/initdb.log" 2>&1
else
  $as "$bin/initdb" -D "$dir/data" -U breakglass --auth=trust --encoding=UTF8 --locale=C >"$dir/initdb.log" 2>&1
fi || { cat "$dir/initdb.log" >&2; exit 1; }
given=$*
set -- -D "$dir/data" -k "$dir" -c listen_addresses= -c max_connections=400 -c shared_buffers=32MB
for setting in $given; do
  case $setting in port=*) export PGPORT="${setting#port=}" ;; esac
  set -- "$@" -c "$setting"
done
start() {
  $as "$bin/postgres" "$@" >>"$dir/log" 2>&1 </dev/null &
  server=$!
}
answers() { "$bin/pg_isready" -q -h "$dir" -U breakglass -d postgres; }
start "$@"
trap 'kill -QUIT "$server" 2>/dev/null || true; wait "$server" || true; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP
until answers; do
  kill -0 "$server" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
  sleep 0.1
done
echo "$dir"
while read -r word; do
  case $word in
    kill)
      kill -KILL "$server"
      wait "$server" 2>/dev/null || true
      echo killed
      ;;
    start)
      # What the killed one left behind holds the data for a moment more.
      until answers; do
        kill -0 "$server" 2>/dev/null || start "$@"
        sleep 0.2
      done
      echo started
      ;;
    promote)
      $as "$bin/pg_ctl" promote -w -D "$dir/data" >>"$dir/log" 2>&1
      echo promoted
      ;;
  esac
done
