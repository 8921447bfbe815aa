#pragma once

#include <cstdint>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tessera {

/// What `tessera generate` is told. Values are sent as they are: the server knows their ranges.
struct GenerateOptions {
  std::string model_dir;                 ///< Start a private server for it; empty: `server`.
  std::vector<std::string> serve_flags;  ///< For the private server.
  std::string server;                    ///< URL of a running server.
  std::string api_key_file;
  std::string model = "default";
  std::string prompt;  ///< "-": standard input.
  std::string system;
  bool raw = false;  ///< The prompt as it is, without the chat template.
  bool show_denoising = false;

  std::optional<std::int64_t> max_tokens;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<std::int64_t> top_k;
  std::optional<std::uint64_t> seed;
  nlohmann::ordered_json decoding = nlohmann::ordered_json::object();  ///< Options by name.
};

/// @param argv  argv[0] is the command's name. What follows "--" goes to the private server.
/// @return      None if --help was asked for and printed to `out`.
/// @throws Error{kInvalidArgument} for wrong flags, and unless there is one prompt and either a
///         model directory or a server.
std::optional<GenerateOptions> parse_generate_options(int argc,
                                                      const char* const* argv,
                                                      std::ostream& out);

/// "/v1/chat/completions", or "/v1/completions" for a raw prompt.
std::string generate_target(const GenerateOptions& options);

/// The body for it, a stream with usage at its end.
/// @param prompt     The text itself.
/// @param with_edits  Ask for provisional text, too.
nlohmann::ordered_json generate_body(const GenerateOptions& options,
                                     const std::string& prompt,
                                     bool with_edits);

}  // namespace tessera
