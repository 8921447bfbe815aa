#!/usr/bin/env bash
# Packs the programs, the CUDA module and the shared libraries they need into one archive that runs
# wherever it is unpacked, with no toolkit. Only mpirun, of Open MPI 4, must be on the machine.
#
#   deploy/bundle.sh                 build/tessera-bundle.tar.gz, of build/release
#   deploy/bundle.sh --system-cuda   leaves out CUDA, NCCL and MPI, for machines that have them
#   deploy/bundle.sh --build DIR --output FILE
#
# In the archive: tessera/bin, tessera/lib, tessera/models (the bundled model). Start with
# tessera/quickstart.sh, or tessera/bin/tessera serve tessera/models/tiny-sdar.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/release
output=build/tessera-bundle.tar.gz
system_cuda=false
while (($#)); do
  case "$1" in
    --system-cuda) system_cuda=true ;;
    --build) build="$2"; shift ;;
    --output) output="$2"; shift ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "bundle.sh: unknown argument $1 (try --help)" >&2; exit 64 ;;
  esac
  shift
done

programs=(tessera tessera-coordinator tessera-worker tessera-make-model)
for program in "${programs[@]}"; do
  [[ -x "$build/bin/$program" ]] || {
    echo "bundle.sh: $build/bin/$program is missing: build first (deploy/quickstart.sh --once)" >&2
    exit 1
  }
done

stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT
root="$stage/tessera"
mkdir -p "$root/bin" "$root/lib" "$root/models"
for program in "${programs[@]}"; do
  strip -o "$root/bin/$program" "$build/bin/$program"
done
module="$build/lib/libtessera_cuda.so"
if [[ -f "$module" ]]; then strip --strip-unneeded -o "$root/lib/libtessera_cuda.so" "$module"; fi
cp -rL deploy/models/tiny-sdar "$root/models/"
cp deploy/quickstart.sh "$root/"

# The C library belongs to the machine, as does the driver.
of_machine='^(linux-vdso|ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libcuda)[.-]'
if $system_cuda; then
  of_machine+='|^(libcublas|libcublasLt|libnccl|libnvJitLink|libmpi|libopen-|libhwloc|libevent)'
fi
files=("$build"/bin/tessera*)
if [[ -f "$module" ]]; then files+=("$module"); fi
ldd "${files[@]}" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u |
  while read -r name path; do
    if [[ ! "$name" =~ $of_machine ]]; then cp -L "$path" "$root/lib/$name"; fi
  done

# Loaded at run time, by ranks with a GPU each.
if [[ -f "$module" ]] && ! $system_cuda; then
  toolkit="$(dirname "$(dirname "$(readlink -f "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")")"
  nccl="$(ldconfig -p | awk '$1 == "libnccl.so.2" {print $NF; exit}')"
  nccl="${nccl:-$(find -L "$toolkit" -name libnccl.so.2 -print -quit)}"
  if [[ -n "$nccl" ]]; then
    cp -L "$nccl" "$root/lib/libnccl.so.2"
  else
    echo "bundle.sh: no libnccl.so.2 here: several ranks with GPUs need the machine's" >&2
  fi
fi

mkdir -p "$(dirname "$output")"
tar -C "$stage" -czf "$output" tessera
echo "$output: $(du -h "$output" | cut -f1), unpacked $(du -sh "$root" | cut -f1)"
