#include "common/config/toml_reader.h"

#include <fstream>
#include <optional>
#include <sstream>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include "common/base/error.h"
#include "common/config/config_value.h"

namespace tessera {
namespace {

std::optional<ConfigValue> scalar_of(const toml::node& node) {
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* integer = node.as_integer()) return integer->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* text = node.as_string()) return text->get();
  return std::nullopt;
}

ConfigValue require_scalar(std::string_view name, const toml::node& node) {
  const std::optional<ConfigValue> value = scalar_of(node);
  TESSERA_REQUIRE(value.has_value(), name, " must be a boolean, a number or a text");
  return *value;
}

void apply_strategy_options(ServerConfig& config, const toml::node& node) {
  const toml::table* table = node.as_table();
  TESSERA_REQUIRE(table != nullptr, "strategy_options must be a table");
  for (const auto& [name, value] : *table) {
    config.strategy_options[std::string(name.str())] = require_scalar(name.str(), value);
  }
}

void apply_node(ServerConfig& config, std::string_view name, const toml::node& node) {
  if (name == "strategy_options") {
    apply_strategy_options(config, node);
    return;
  }
  const ConfigKey* key = find_config_key(name);
  if (key == nullptr) throw_unknown_key(name);
  set_value(config, *key, require_scalar(name, node));
}

}  // namespace

void apply_toml_file(ServerConfig& config, const std::string& path) {
  std::ifstream file(path);
  TESSERA_REQUIRE(file.good(), "cannot read the configuration file ", path);
  std::ostringstream text;
  text << file.rdbuf();
  const toml::parse_result parsed = toml::parse(text.str());
  TESSERA_REQUIRE(parsed.succeeded(), path, ":", parsed.error().source().begin.line, ": ",
                  parsed.error().description());
  for (const auto& [name, node] : parsed.table()) {
    apply_node(config, name.str(), node);
  }
}

}  // namespace tessera
