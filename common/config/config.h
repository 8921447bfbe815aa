#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tessera {

/// Options of a strategy by name, as given: OptionValues of strategies/strategy_options.h.
using StrategyOptionValues =
    std::map<std::string, std::variant<bool, std::int64_t, double, std::string>, std::less<>>;

/// Every option of a server, coordinator and workers. Plain values: complete and in range when they
/// come from read_config, which is the only reader of flags and files. The names are the keys of
/// the configuration file; flags have dashes for the underscores. What each means, its range and
/// who reads it is in config_keys() (docs/configuration.md is printed from it).
struct ServerConfig {
  // model
  std::string model;                 ///< Directory of the checkpoint; never empty after reading.
  std::string served_model_name;     ///< Empty: the last component of `model`, see served_name().
  std::string load_format = "auto";  ///< auto | dummy
  std::string chat_template;         ///< A template file; empty: the checkpoint's.

  // HTTP server
  std::string host = "127.0.0.1";
  std::int32_t port = 8080;  ///< 0: any free port, which the log names.
  std::string api_key_file;  ///< One key per line; empty: no authentication.
  std::int64_t max_body_bytes = 4 << 20;
  std::int32_t max_connections = 1024;
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds request_timeout{600'000};   ///< 0: none
  std::chrono::milliseconds sse_ping_interval{30'000};  ///< 0: none
  std::chrono::milliseconds drain_timeout{30'000};

  // decoding
  std::string strategy;  ///< Empty: the first of the registry that accepts the model.
  std::string preset;    ///< quality | balanced | fast; empty: the strategy's defaults.
  std::optional<std::int32_t> block_size;   ///< None: the checkpoint's, then the strategy's.
  std::optional<std::int32_t> buffer_size;  ///< None: the strategy's default.
  StrategyOptionValues strategy_options;

  // scheduling and memory
  std::int32_t page_size = 32;
  std::optional<std::int64_t> kv_memory;      ///< Bytes per rank; none: see kv_memory_bytes().
  std::optional<std::int32_t> max_model_len;  ///< None: the checkpoint's.
  std::int32_t max_running_requests = 64;     ///< Per replica.
  std::int32_t max_waiting_requests = 1024;
  std::optional<std::int32_t> max_step_rows;  ///< None: see step_rows().
  bool prefix_cache = true;

  // ranks
  std::int32_t tp = 1;
  bool expert_parallel = false;  ///< Ranks divide routed experts by expert, not by width.
  std::int32_t replicas = 1;
  std::string backend = "cpu";  ///< cpu | cuda | reference
  bool deterministic = false;
  bool eager = false;
  std::string device_collectives = "nccl";  ///< nccl | host
  std::int32_t first_device = 0;            ///< GPU of the first rank of a node.
  std::int32_t threads_per_rank = 0;        ///< 0: the machine's cores shared out among its ranks.
  std::string instruction_set = "auto";     ///< auto | avx512 | avx2 (cpu back end)
  std::string communicator = "auto";  ///< auto | shared_memory | mpi; one rank is always single.

  // cluster
  std::string control_endpoint = "tcp://127.0.0.1:*";  ///< Where the coordinator's ROUTER binds.
  std::string coordinator;         ///< Workers: address to connect to, tcp://host:port.
  std::string control_token_file;  ///< Shared token that workers must show; empty: none.
  std::chrono::milliseconds heartbeat_interval{200};
  std::chrono::milliseconds heartbeat_timeout{10'000};
  std::chrono::milliseconds coordinator_timeout{10'000};  ///< Workers exit after this silence.
  std::chrono::milliseconds join_timeout{300'000};
  std::chrono::milliseconds step_timeout{60'000};
  std::int32_t restart_budget = 3;  ///< Restarts of one replica before its requests fail.

  // log
  std::string log_level = "info";   ///< debug | info | warning | error
  std::string log_format = "text";  ///< text | json

  bool operator==(const ServerConfig&) const = default;
};

/// The version of this build, "0.1.0".
std::string_view version();

/// The name clients call the model by: served_model_name, else the last component of `model`.
std::string served_name(const ServerConfig& config);

/// Bytes for the KV cache of each rank: kv_memory, else 512 MiB. None: what the GPU has left.
std::optional<std::int64_t> kv_memory_bytes(const ServerConfig& config);

/// Rows of a step: max_step_rows, else 2048 on a GPU and 512 on a CPU, as many as it takes for
/// more of them not to be faster.
std::int32_t step_rows(const ServerConfig& config);

/// Who reads an option; a program refuses the flags of the others.
enum class Program : std::uint8_t { kServe, kCoordinator, kWorker };

/// Reads `--config FILE` and the flags (flags win), for one program. The model directory may also
/// be given as the one positional argument.
///
/// @param argv  Without the sub-command: argv[0] is the program's name, shown in --help.
/// @param out   Where --help and --version are printed.
/// @return      None if --help or --version was asked for: exit with 0.
/// @throws Error{kInvalidArgument} for an unknown key or flag (naming the nearest known one), a
///         wrong type or a value out of range (naming key, value and what is allowed), options that
///         contradict each other, a missing model or an unreadable file.
std::optional<ServerConfig> read_config(Program program,
                                        int argc,
                                        const char* const* argv,
                                        std::ostream& out);

/// Flags with which `program` arrives at the same configuration: what differs from the defaults and
/// is read by it. For the supervisor, which starts the others.
std::vector<std::string> config_flags(const ServerConfig& config, Program program);

/// The configuration as a TOML file that read_config accepts, every key with its value (keys that
/// are not set are left out).
std::string to_toml(const ServerConfig& config);

}  // namespace tessera
