#pragma once

namespace tessera {

/// `tessera check-config`: prints the configuration that flags and file result in, and the memory
/// each rank needs; with --reference, the reference of all keys instead.
/// @return The exit code.
int run_check_config(int argc, const char* const* argv);

}  // namespace tessera
