#pragma once

namespace tessera {

/// `tessera bench`: measures a server as its clients see it. Flags: bench_options.h.
/// @return The exit code: 0, 2 when requests failed, 3 when a demanded minimum was missed.
int run_bench(int argc, const char* const* argv);

}  // namespace tessera
