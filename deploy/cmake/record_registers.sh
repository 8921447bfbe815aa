#!/usr/bin/env bash
# What the kernels take of a multiprocessor.
#
#   record_registers.sh COMPILER ...      compiles, as the launcher of nvcc, and writes what ptxas
#                                         says of every kernel to OBJECT.registers
#   record_registers.sh --list DIR FILE   collects what lies in DIR, a line for each kernel
#
# Serialised tensor-core instructions, of which ptxas only informs, are an error here.
set -euo pipefail

if [[ "$1" == --list ]]; then
  find "$2" -name '*.registers' -exec cat {} + | sort -u -k2 -k1,1 >"$3"
  exit
fi

object=
for ((i = 1; i < $#; ++i)); do
  if [[ "${!i}" == -o ]]; then next=$((i + 1)); object="${!next}"; fi
done
said="$(mktemp)"
trap 'rm -f "$said"' EXIT
status=0
"$@" 2>"$said" || status=$?
grep -vE '^ptxas info|bytes stack frame|^ *$' "$said" >&2 || true
((status == 0)) || exit "$status"
if grep -E 'C75[0-9]{2}' "$said" >&2; then
  echo "record_registers.sh: $object: ptxas serialises tensor-core instructions" >&2
  exit 1
fi
[[ "$object" == *.o ]] || exit 0
awk '/Compiling entry function/ { split($0, quoted, "\047"); kernel = quoted[2]; target = quoted[4] }
     /bytes stack frame/ { stack = $1; spilled = $5 + $9 }
     /Used [0-9]+ registers/ {
       match($0, /[0-9]+ registers/); registers = substr($0, RSTART, RLENGTH)
       smem = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) : "0 bytes smem"
       print target, kernel, registers ",", smem ",", stack, "bytes stack,", spilled, "spilled"
     }' "$said" | { c++filt 2>/dev/null || cat; } >"$object.registers"
