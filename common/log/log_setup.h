#pragma once

#include <string>

namespace tessera {

/// Sets up spdlog's default logger: everything goes to stderr, one line per message, safe from any
/// thread.
///
///     text:  2025-01-31 12:00:00.123 info rank 0: joined
///     json:  {"time":"2025-01-31T12:00:00.123Z","level":"info","source":"rank
///     0","message":"joined"}
///
/// @param level   Least severity: "debug", "info", "warning" or "error".
/// @param format  "text" or "json".
/// @param source  Who speaks, e.g. "rank 0".
/// @throws Error{kInvalidArgument} for another level or format.
void set_up_log(const std::string& level, const std::string& format, const std::string& source);

}  // namespace tessera
