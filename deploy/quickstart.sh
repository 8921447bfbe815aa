#!/usr/bin/env bash
# Serves the bundled model on this machine, from nothing: installs Debian packages, builds, starts a
# coordinator and two ranks, has one word problem answered, and keeps serving until Ctrl-C.
#
#   deploy/quickstart.sh                 the server stays at http://127.0.0.1:8080
#   deploy/quickstart.sh --port 9000     at another port
#   deploy/quickstart.sh --once          ends after the answer
#   deploy/quickstart.sh --backend cuda  ranks on GPUs; needs a CUDA 13 toolkit to build, and a driver
#
# In an unpacked bundle, where nothing is left to install or build, it is ./quickstart.sh.
# Runs as root, or as a user with sudo if packages are missing. No Python.
set -euo pipefail
cd "$(dirname "$0")"

port=8080
backend=cpu
once=false
while (($# > 0)); do
  case "$1" in
    --once) once=true ;;
    --port) port="${2:?quickstart.sh: --port needs a number}"; shift ;;
    --port=*) port="${1#--port=}" ;;
    --backend) backend="${2:?quickstart.sh: --backend needs cpu or cuda}"; shift ;;
    --backend=*) backend="${1#--backend=}" ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "${0##*/}"; exit 0 ;;
    *) echo "quickstart.sh: unknown argument $1 (try --help)" >&2; exit 64 ;;
  esac
  shift
done

url="http://127.0.0.1:$port"
question="A farm has 19 goats and 18 spiders. How many legs do they have in total?"
say() { printf '\n== %s\n' "$1"; }

if [[ -x bin/tessera ]]; then
  tessera=bin/tessera
  model=models/tiny-sdar
else
  cd ..
  build=build/release
  tessera=$build/bin/tessera
  model=deploy/models/tiny-sdar
  say "Packages"
  deploy/install.sh
  say "Building Tessera in $build (the first time takes minutes)"
  if [[ ! -f $build/build.ninja ]]; then
    mkdir -p "$build"
    cmake --preset release -Wno-dev -DTESSERA_TESTS=OFF -DTESSERA_BENCHMARKS=OFF \
      >"$build/configure.log" 2>&1 || { cat "$build/configure.log"; exit 1; }
  fi
  targets=(tessera tessera-coordinator tessera-worker)
  if [[ $backend == cuda ]]; then
    ninja -C "$build" -t query tessera_cuda >/dev/null 2>&1 || {
      echo "quickstart.sh: --backend cuda needs a CUDA 13 toolkit (nvcc in the path) to build" >&2
      exit 1
    }
    targets+=(tessera_cuda)
  fi
  cmake --build "$build" --parallel "$(nproc)" --target "${targets[@]}"
fi

if curl --silent --output /dev/null --max-time 2 "$url/"; then
  echo "quickstart.sh: something serves at port $port already; choose another with --port" >&2
  exit 1
fi

say "Starting: one coordinator, one replica of two ranks ($backend)"
# Ends with this script, whatever ends the script. As a background job it ignores Ctrl-C, which we
# pass on: one signal drains, a second one ends at once.
setpriv --pdeathsig TERM "$tessera" serve "$model" --tp 2 --backend "$backend" --port "$port" &
server=$!
trap 'kill -TERM "$server" 2>/dev/null || true' INT TERM

# Returns the exit code of the server. A trap interrupts wait, which then returns more than 128.
wait_for_server() {
  local status=0 last
  while true; do
    wait "$server" && return 0 || status=$?
    ((status <= 128)) && return "$status"
    kill -0 "$server" 2>/dev/null && continue
    wait "$server" 2>/dev/null && return 0 || last=$?
    ((last == 127)) || status=$last  # 127: the first wait has told already
    return "$status"
  done
}

until curl --silent --fail --output /dev/null --max-time 2 "$url/health/ready"; do
  kill -0 "$server" 2>/dev/null || { wait_for_server; exit; }
  sleep 0.1
done

say "Asking: $question"
answered=0
"$tessera" generate --server "$url" --show-denoising "$question" || answered=$?

if $once; then
  say "Stopping"
  kill -TERM "$server"
  wait_for_server
  exit "$answered"
fi

cat <<TEXT

== Serving until Ctrl-C
   page     $url/      ask in the browser and watch the blocks fill
   API      $url/v1    for any OpenAI client
   metrics  $url/metrics
   again    $tessera generate --server $url --show-denoising "..."
TEXT
wait_for_server
