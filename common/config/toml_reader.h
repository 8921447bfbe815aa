#pragma once

#include <string>

#include "common/config/config.h"

namespace tessera {

/// Overwrites the keys that the TOML file names.
/// @throws Error{kInvalidArgument} for an unreadable file, a syntax error (with file and line), an
///         unknown key or a refused value.
void apply_toml_file(ServerConfig& config, const std::string& path);

}  // namespace tessera
