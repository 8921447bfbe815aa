#include "common/config/config.h"

#include <array>
#include <filesystem>
#include <sstream>
#include <utility>

#include "common/base/error.h"
#include "common/config/config_key.h"
#include "common/config/config_value.h"
#include "common/config/flag_reader.h"
#include "common/config/toml_reader.h"

namespace tessera {
namespace {

void require_endpoint(std::string_view name, const std::string& value) {
  TESSERA_REQUIRE(value.starts_with("tcp://") || value.starts_with("ipc://"), name, " is \"", value,
                  "\"; allowed: tcp://ADDRESS:PORT or ipc://PATH");
}

/// What no key can know of itself.
void require_consistent(const ServerConfig& config, Program program) {
  TESSERA_REQUIRE(!config.model.empty(),
                  "no model: give the directory of a checkpoint, as in `tessera serve MODEL_DIR`");
  TESSERA_REQUIRE(config.tp == 1 || config.tp == 2 || config.tp == 4 || config.tp == 8, "tp is ",
                  config.tp, "; allowed: 1, 2, 4, 8");
  for (const auto& [name, value] :
       {std::pair{"block_size", config.block_size}, std::pair{"buffer_size", config.buffer_size}}) {
    TESSERA_REQUIRE(!value || !config.strategy_options.contains(name), name, " is ",
                    value.value_or(0), " and strategy_options holds it, too; give one of the two");
  }
  if (program == Program::kWorker) {
    if (!config.coordinator.empty()) require_endpoint("coordinator", config.coordinator);
    return;
  }
  TESSERA_REQUIRE(config.heartbeat_timeout >= 2 * config.heartbeat_interval,
                  "heartbeat_timeout must be at least twice heartbeat_interval");
  require_endpoint("control_endpoint", config.control_endpoint);
}

}  // namespace

std::string_view version() {
  return TESSERA_VERSION;
}

std::optional<std::int64_t> kv_memory_bytes(const ServerConfig& config) {
  constexpr std::int64_t kOfHosts = std::int64_t{512} << 20;
  if (config.kv_memory || config.backend == "cuda") return config.kv_memory;
  return kOfHosts;
}

std::int32_t step_rows(const ServerConfig& config) {
  return config.max_step_rows.value_or(config.backend == "cuda" ? 2048 : 512);
}

std::string served_name(const ServerConfig& config) {
  if (!config.served_model_name.empty()) return config.served_model_name;
  // "models/tiny/" has an empty last component.
  const std::filesystem::path path = std::filesystem::path(config.model).lexically_normal();
  return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

std::optional<ServerConfig> read_config(Program program,
                                        int argc,
                                        const char* const* argv,
                                        std::ostream& out) {
  const std::optional<Flags> flags = read_flags(program, argc, argv, out);
  if (!flags.has_value()) return std::nullopt;

  ServerConfig config;
  if (flags->config_file.has_value()) apply_toml_file(config, *flags->config_file);
  for (const auto& [name, text] : flags->values) {
    set_from_text(config, *find_config_key(name), text);
  }
  for (const auto& [name, value] : flags->strategy_options) config.strategy_options[name] = value;
  require_consistent(config, program);
  return config;
}

std::vector<std::string> config_flags(const ServerConfig& config, Program program) {
  const ServerConfig defaults;
  std::vector<std::string> flags;
  for (const ConfigKey& key : config_keys()) {
    const std::string value = value_text(config, key);
    const bool reads = (key.programs & program_bit(program)) != 0;
    if (!reads || value == value_text(defaults, key)) continue;
    flags.push_back(flag_name(key.name) + "=" + value);
  }
  if (program == Program::kWorker) return flags;
  for (const auto& [name, value] : config.strategy_options) {
    const auto* text = std::get_if<std::string>(&value);
    flags.push_back("--strategy-option=" + name + "=" + (text ? *text : toml_text(value)));
  }
  return flags;
}

std::string to_toml(const ServerConfig& config) {
  std::ostringstream out;
  std::string_view section;
  for (const ConfigKey& key : config_keys()) {
    if (!is_set(config, key)) continue;
    if (key.section != section) {
      out << (section.empty() ? "" : "\n") << "# " << key.section << "\n";
      section = key.section;
    }
    const std::string text = value_text(config, key);
    const bool plain =
        std::holds_alternative<bool ServerConfig::*>(key.field) ||
        std::holds_alternative<std::int32_t ServerConfig::*>(key.field) ||
        std::holds_alternative<std::optional<std::int32_t> ServerConfig::*>(key.field);
    out << key.name << " = " << (plain ? text : toml_text(text)) << "\n";
  }
  if (config.strategy_options.empty()) return out.str();
  out << "\n[strategy_options]\n";
  for (const auto& [name, value] : config.strategy_options) {
    out << name << " = " << toml_text(value) << "\n";
  }
  return out.str();
}

}  // namespace tessera
