#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/cli/bench/level_summary.h"

namespace tessera {

/// What every request asks for.
struct RequestOptions {
  std::string model = "default";
  std::optional<std::int32_t> max_tokens;  ///< None: the server's default.
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<std::int32_t> top_k;
  std::optional<std::uint64_t> seed;  ///< The same for all requests.
  bool ignore_eos = false;
  nlohmann::json decoding = nlohmann::json::object();  ///< Strategy options by name.
};

struct BenchOptions {
  // Where: exactly one of the two.
  std::string server_url;
  std::vector<std::string> serve_arguments;  ///< MODEL_DIR and flags of a private server.
  std::string api_key;

  // What: the problems of a file, or random prompts.
  std::string dataset;
  std::int32_t input_len = 128;              ///< Of random prompts, in tokens.
  std::int32_t output_len = 128;             ///< The same; EOS is ignored.
  std::optional<std::int32_t> num_requests;  ///< None: the whole file, or 64 random prompts.
  RequestOptions request;

  // How hard.
  std::vector<LoadLevel> levels;
  std::int32_t num_warmup = 8;
  std::uint64_t load_seed = 0;  ///< Of arrivals and random prompts.
  std::chrono::seconds timeout{600};

  // What comes of it.
  ServiceObjective objective;
  std::optional<double> min_accuracy;  ///< In percent.
  std::optional<double> min_goodput;   ///< Requests per second.
  std::string json_path;
  std::string plot_path;
  bool shows_progress = true;

  bool has_random_prompts() const { return dataset.empty(); }
};

/// Reads the flags of `tessera bench`.
/// @return None if --help was asked for and printed to `out`.
/// @throws Error{kInvalidArgument} naming the flag and what is allowed.
std::optional<BenchOptions> read_bench_options(int argc,
                                               const char* const* argv,
                                               std::ostream& out);

}  // namespace tessera
