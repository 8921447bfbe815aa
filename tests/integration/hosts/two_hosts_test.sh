#!/usr/bin/env bash
# A replica whose ranks are on two hosts: two network namespaces with host names of their own, joined
# by a cable. mpirun reaches the second one through the agent that it would otherwise use ssh for.
# A chat is answered; then the cable is cut, and the request that was running gets its 503.
#
# Usage: two_hosts_test.sh BIN_DIR MODEL_DIR. Exit code 77: this user may not make namespaces.
set -euo pipefail

bin="$1" model="$2"
here="tessera-a-$$" there="tessera-b-$$"
work="$(mktemp -d)"
http="127.0.0.1:18080" control="tcp://10.77.0.1:17077"
coordinator=0 job=0

fail() { echo "two_hosts_test.sh: $1" >&2; tail -n 20 "$work"/*.log >&2; exit 1; }
on_host() { ip netns exec "$@"; }
ask() { on_host "$here" curl --silent --show-error --max-time 30 "$@"; }

clean_up() {
  for pid in "$job" "$coordinator"; do
    if ((pid > 0)); then kill -TERM "$pid" 2>/dev/null || true; fi
  done
  for namespace in "$here" "$there"; do
    ip netns pids "$namespace" 2>/dev/null | xargs --no-run-if-empty kill -KILL 2>/dev/null || true
    ip netns delete "$namespace" 2>/dev/null || true
  done
  rm -rf "$work"
}

if ((EUID != 0)) || ! ip netns add "$here" 2>"$work/denied"; then
  echo "skipped: network namespaces need root: $(cat "$work/denied" 2>/dev/null)"
  rm -rf "$work"
  exit 77
fi
trap clean_up EXIT
ip netns add "$there"
ip link add "tsr-a-$$" netns "$here" type veth peer name "tsr-b-$$" netns "$there"
on_host "$here" ip address add 10.77.0.1/24 dev "tsr-a-$$"
on_host "$there" ip address add 10.77.0.2/24 dev "tsr-b-$$"
for namespace in "$here" "$there"; do on_host "$namespace" ip link set lo up; done
on_host "$here" ip link set "tsr-a-$$" up
on_host "$there" ip link set "tsr-b-$$" up

# mpirun calls: agent HOST COMMAND...
cat >"$work/agent" <<AGENT
#!/usr/bin/env bash
shift
exec ip netns exec $there unshare --uts bash -c "hostname tessera-b; \$*"
AGENT
chmod +x "$work/agent"
echo "a secret of this test" >"$work/secret"

on_host "$here" "$bin/tessera-coordinator" "$model" --host 127.0.0.1 --port "${http##*:}" \
  --control-endpoint "$control" --control-token-file "$work/secret" --tp 2 \
  >"$work/coordinator.log" 2>&1 &
coordinator=$!
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
on_host "$here" mpirun --host 10.77.0.1,10.77.0.2 -n 2 --map-by node --bind-to none \
  --mca plm_rsh_agent "$work/agent" --mca btl self,tcp --mca btl_tcp_if_include 10.77.0.0/24 \
  --mca oob_tcp_if_include 10.77.0.0/24 \
  "$bin/tessera-worker" "$model" --coordinator "$control" --control-token-file "$work/secret" \
  >"$work/job.log" 2>&1 &
job=$!

for ((i = 0; i < 300; ++i)); do
  ask --fail --output /dev/null "http://$http/health/ready" 2>/dev/null && break
  kill -0 "$job" 2>/dev/null || fail "the worker job ended"
  kill -0 "$coordinator" 2>/dev/null || fail "the coordinator ended"
  on_host "$here" bash -c 'read -r -t 0.1 <> <(:) || true'
done
((i < 300)) || fail "the server did not become ready"
grep -q "tessera-b" "$work/coordinator.log" || fail "no rank joined from the second host"

question='{"model":"default","temperature":0,"max_tokens":200,"messages":[{"role":"user",
  "content":"A farm has 19 goats and 18 spiders. How many legs do they have in total?"}]}'
ask "http://$http/v1/chat/completions" -H 'Content-Type: application/json' -d "$question" \
  >"$work/answer.log"
grep -q '#### 220' "$work/answer.log" || fail "another answer than 220"

# A token a step, for thousands of steps: still running when the cable is cut.
long='{"model":"default","temperature":0,"max_tokens":3500,"ignore_eos":true,"messages":[{"role":"user",
  "content":"Copy this text: a b c"}],"decoding":{"block_size":4,"buffer_size":1,"accept_threshold":1}}'
ask --output "$work/lost.log" --write-out '%{http_code}' "http://$http/v1/chat/completions" \
  -H 'Content-Type: application/json' -d "$long" >"$work/status" &
request=$!
for ((i = 0; i < 300; ++i)); do
  ask "http://$http/metrics" 2>/dev/null | grep -q '^tessera_requests_running{.*} 1' && break
done
on_host "$there" ip link set "tsr-b-$$" down
cut_at="${EPOCHREALTIME/./}"
wait "$request" || fail "no answer after the cable was cut"
(( ${EPOCHREALTIME/./} - cut_at < 5000000 )) || fail "a cut cable was noticed only by silence"
[[ "$(cat "$work/status")" == 503 ]] || fail "status $(cat "$work/status") instead of 503"
grep -q 'rank_lost' "$work/lost.log" || fail "not rank_lost"
echo "two hosts: served, and lost as it should be"
