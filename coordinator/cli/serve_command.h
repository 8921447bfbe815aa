#pragma once

namespace tessera {

/// `tessera serve`: starts a coordinator and its replicas, and supervises them until they end.
/// @return The exit code.
int run_serve_command(int argc, const char* const* argv);

}  // namespace tessera
