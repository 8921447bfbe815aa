#pragma once

namespace tessera {

/// `tessera generate`: one prompt, its answer streamed to the terminal.
/// @return The exit code: 1 when the request failed.
int run_generate_command(int argc, const char* const* argv);

}  // namespace tessera
