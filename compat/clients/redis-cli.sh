#!/usr/bin/env bash
# Debian's redis-cli as a user holds it: one command a call, --pipe, --scan, a blocked call ended from beside.
set -uo pipefail
cli=(redis-cli -h 127.0.0.1 -p "$PORT" "-$PROTOCOL")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

r() { timeout 10 "${cli[@]}" "$@" 2>&1; }

# same NAME EXPECTED ACTUAL: texts equal.
same() {
  if [[ $2 == "$3" ]]; then
    echo "ok $1"
  else
    echo "not ok $1: got '$(tr '\n' '~' <<<"$3")' expected '$(tr '\n' '~' <<<"$2")'"
  fi
}
# like NAME REGEX ACTUAL: extended regular expression found in the text.
like() {
  if [[ $3 =~ $2 ]]; then
    echo "ok $1"
  else
    echo "not ok $1: got '$(head -c 300 <<<"$3" | tr '\n' '~')' expected /$2/"
  fi
}
lines() { printf '%s\n' "$@"; }
# until COMMAND…: waits until the command succeeds, five seconds at most.
until_true() {
  local n
  for ((n = 0; n < 250; n++)); do "$@" && return 0; sleep 0.02; done
  return 1
}

same ping PONG "$(r ping)"
same ping-with-message "hello there" "$(r ping "hello there")"
same echo "a b" "$(r echo "a b")"
same select "$(lines OK zero OK '' )" "$(printf 'set db-key zero\nget db-key\nselect 5\nget db-key\n' | r)"
same url-with-database 5 "$(timeout 10 redis-cli -u "redis://127.0.0.1:$PORT/5" -"$PROTOCOL" client info | grep -o ' db=[0-9]*' | cut -d= -f2)"
same client-setname "$(lines OK porter)" "$(printf 'client setname porter\nclient getname\n' | r)"
like client-list 'addr=127\.0\.0\.1:[0-9]+ .*cmd=client' "$(r client list)"
like hello "proto $PROTOCOL" "$(r hello "$PROTOCOL" | paste -sd' ')"

# What redis-cli itself asks for when it talks to a person.
like command-count '^[0-9]+$' "$(r command count)"
like command-docs 'summary' "$(r command docs xadd)"
like command-info 'xadd' "$(r command info xadd)"
same command-getkeys "$(lines a b)" "$(r command getkeys xread streams a b 0 0)"
like info-server 'redis_version:[0-9]+\.[0-9]+\.[0-9]+' "$(r info server)"
like info-role 'role:master' "$(r info replication)"
like info-keyspace 'db0:keys=[0-9]+,expires=' "$(r info keyspace)"
like config-get 'databases 16' "$(r config get databases | paste -sd' ')"
same config-get-unknown '' "$(r config get no-such-setting-here)"

# Streams.
same xadd-explicit 1-1 "$(r xadd s 1-1 name ada)"
same xadd-partial-id 1-2 "$(r xadd s '1-*' name grace)"
like xadd-auto '^[0-9]{13}-[0-9]+$' "$(r xadd s '*' name barbara city boston)"
same xadd-too-small 'ERR The ID specified in XADD is equal or smaller than the target stream top item' "$(r xadd s 1-1 f v | paste -sd' ' | sed 's/ *$//')"
same xadd-nomkstream '' "$(r xadd missing nomkstream '*' f v)"
same xlen 3 "$(r xlen s)"
same xrange "$(lines 1-1 name ada 1-2 name grace)" "$(r xrange s - 1-2 | sed 's/^ *//' | grep .)"
same xrange-exclusive "$(lines 1-2 name grace)" "$(r xrange s '(1-1' 2)"
same xrevrange "$(lines 1-2 name grace)" "$(r xrevrange s 2 - count 1)"
same xread "s 1-2 name grace" "$(r xread count 1 streams s 1-1 | paste -sd' ')"
same xread-nothing '' "$(r xread streams s '$')"
same xdel 1 "$(r xdel s 1-2 9-9)"
same xtrim 1 "$(r xtrim s maxlen 1)"
same xtrim-approximate 0 "$(r xtrim s maxlen '~' 1 limit 10)"
like xinfo-stream 'length 1 .*entries-added 3' "$(r xinfo stream s | paste -sd' ')"
like xinfo-stream-full 'entries-added' "$(r xinfo stream s full)"
same type stream "$(r type s)"
same wrong-type 'WRONGTYPE Operation against a key holding the wrong kind of value' "$(r get s | paste -sd' ' | sed 's/ *$//')"

# Groups.
same xgroup-create OK "$(r xgroup create g-stream workers '$' mkstream)"
like xgroup-create-again '^BUSYGROUP' "$(r xgroup create g-stream workers '$')"
for n in 1 2 3; do r xadd g-stream $n-0 n $n >"$scratch/added"; done
same xreadgroup "g-stream 1-0 n 1 2-0 n 2" "$(r xreadgroup group workers c1 count 2 streams g-stream '>' | paste -sd' ')"
same xack 1 "$(r xack g-stream workers 1-0)"
same xpending "$(lines 1 2-0 2-0 c1 1)" "$(r xpending g-stream workers | sed 's/^ *//' | grep .)"
like xpending-range '^2-0 c1 [0-9]+ 1$' "$(r xpending g-stream workers - + 10 | paste -sd' ')"
same xclaim "$(lines 2-0 n 2)" "$(r xclaim g-stream workers c2 0 2-0)"
same xautoclaim "$(lines 0-0 2-0 n 2)" "$(r xautoclaim g-stream workers c3 0 0 | sed 's/^ *//' | grep .)"
like xinfo-groups 'name workers consumers 3 pending 1 last-delivered-id 2-0 entries-read 2 lag 1' "$(r xinfo groups g-stream | paste -sd' ')"
like xinfo-consumers 'name c3 pending 1' "$(r xinfo consumers g-stream workers | paste -sd' ')"
like no-group '^NOGROUP No such key' "$(r xreadgroup group nobody c streams g-stream '>')"
same xgroup-setid OK "$(r xgroup setid g-stream workers 0)"
same xgroup-createconsumer 1 "$(r xgroup createconsumer g-stream workers c9)"
same xgroup-delconsumer 0 "$(r xgroup delconsumer g-stream workers c9)"
same xgroup-destroy 1 "$(r xgroup destroy g-stream workers)"

# A reader that blocks, and a producer beside it.
same xread-times-out '' "$(r xread block 60 streams nothing-here '$')"
r xread block 8000 streams wake '$' >"$scratch/woken" &
reader=$!
is_blocked() { [[ $(r info clients | grep -o 'blocked_clients:[0-9]*' | cut -d: -f2) -ge 1 ]]; }
until_true is_blocked
r xadd wake 7-0 f v >"$scratch/added"
wait "$reader"
same xread-wakes "wake 7-0 f v" "$(paste -sd' ' "$scratch/woken")"

# Pub/sub.
timeout 10 "${cli[@]}" subscribe news >"$scratch/heard" 2>&1 &
subscriber=$!
has_subscriber() { [[ $(r pubsub numsub news | paste -sd' ') == "news 1" ]]; }
until_true has_subscriber
same publish 1 "$(r publish news "it works")"
heard_it() { grep -q 'it works' "$scratch/heard"; }
until_true heard_it
kill "$subscriber" && wait "$subscriber" 2>/dev/null
same subscribe "$(lines subscribe news 1 message news 'it works')" "$(sed 's/^[0-9]*) *//; s/^(integer) //; s/"//g' "$scratch/heard" | grep -v '^Reading messages')"
same publish-to-nobody 0 "$(r publish nobody-listens x)"

# Transactions, strings, keys.
same multi-exec "$(lines OK QUEUED QUEUED OK 1)" "$(printf 'multi\nset t-key 0\nincr t-key\nexec\n' | r)"
like exec-abort 'EXECABORT' "$(printf 'multi\nxadd too-few\nexec\n' | r)"
same discard "$(lines OK QUEUED OK 1)" "$(printf 'multi\nset t-key 9\ndiscard\nget t-key\n' | r)"
same set-nx "$(lines OK '')" "$(printf 'set lock token nx px 30000\nset lock other nx px 30000\n' | r)"
like pttl '^(29|30)[0-9]{3}$' "$(r pttl lock)"
same expire-persist "$(lines 1 1 -1)" "$(printf 'expire lock 100\npersist lock\nttl lock\n' | r)"
same expired-key-is-gone "$(lines OK '')" "$(printf 'set brief v px 1\n' | r; sleep 0.02; r get brief)"
same strings "$(lines OK 5 hello 8 OK a b 1)" "$(printf 'set str hello\nstrlen str\ngetdel str\nincrby num 8\nmset k1 a k2 b\nmget k1 k2\ndel k1\n' | r)"
same not-an-integer 'ERR value is not an integer or out of range' "$(r set word abc >"$scratch/set"; r incr word | paste -sd' ' | sed 's/ *$//')"
same exists-rename "$(lines OK OK 1 0)" "$(printf 'set from v\nrename from to\nexists to\nexists from\n' | r)"
for n in $(seq 100); do echo "set scan:$n v"; done | r >"$scratch/filled"
same scan 100 "$(r --scan --pattern 'scan:*' | sort -u | wc -l)"
same unknown-command "ERR unknown command 'frobnicate', with args beginning with: 'a' " "$(r frobnicate a | head -n 1)"
same arity "ERR wrong number of arguments for 'xadd' command" "$(r xadd s | head -n 1)"
same unlink 2 "$(r unlink scan:1 scan:2)"
like memory-usage '^[0-9]+$' "$(r memory usage s)"
like object-encoding '^stream$' "$(r object encoding s)"

# --pipe: mass insertion of raw requests.
for n in $(seq 1000); do printf '*5\r\n$4\r\nXADD\r\n$4\r\nmass\r\n$1\r\n*\r\n$1\r\nn\r\n$%d\r\n%d\r\n' "${#n}" "$n"; done >"$scratch/mass"
like pipe 'errors: 0, replies: 1000' "$(timeout 20 redis-cli -p "$PORT" --pipe <"$scratch/mass" 2>&1 | paste -sd' ')"
same pipe-arrived 1000 "$(r xlen mass)"
like bigkeys 'stream' "$(timeout 20 "${cli[@]}" --bigkeys 2>&1)"
like latency '^[0-9]+ [0-9]+ [0-9.]+ [0-9]+$' "$(timeout 10 redis-cli -p "$PORT" --raw --latency -i 1 </dev/null | tail -n 1)"

# A client ended from beside.
r xread block 8000 streams kill-me '$' >"$scratch/killed" &
reader=$!
until_true is_blocked
victim=$(r client list | grep 'cmd=xread' | grep -o '^id=[0-9]*' | cut -d= -f2)
same client-kill 1 "$(r client kill id "$victim")"
wait "$reader"
like killed-client-notices '(closed|Broken pipe|reset)' "$(cat "$scratch/killed")"
same dbsize-flushall "$(lines OK 0)" "$(printf 'flushall\ndbsize\n' | r)"
same quit OK "$(r quit)"
echo done
