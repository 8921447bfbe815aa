#pragma once

#include <iosfwd>
#include <map>
#include <optional>
#include <string>

#include "common/config/config.h"

namespace tessera {

/// What the command line says, before it is checked against the keys' types and ranges.
struct Flags {
  std::optional<std::string> config_file;
  std::map<std::string, std::string, std::less<>> values;  ///< By key.
  StrategyOptionValues strategy_options;
};

/// Reads the flags that `program` takes.
/// @return None if --help or --version was asked for and printed to `out`.
/// @throws Error{kInvalidArgument} for unknown flags (with the nearest known one) and flags without
///         a value.
std::optional<Flags> read_flags(Program program,
                                int argc,
                                const char* const* argv,
                                std::ostream& out);

/// max_model_len -> --max-model-len
std::string flag_name(std::string_view key);

}  // namespace tessera
