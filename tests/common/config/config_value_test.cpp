#include "common/config/config_value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

/// The message of the refusal; empty if the value was taken.
std::string refusal(const ConfigKey& key, const ConfigValue& value) {
  ServerConfig config;
  try {
    set_value(config, key, value);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

bool is_number(const ConfigKey& key) {
  return key.maximum > key.minimum;
}

/// Numbers in the key's own unit as a file writes them.
ConfigValue in_file(const ConfigKey& key, std::int64_t number) {
  if (std::holds_alternative<std::chrono::milliseconds ServerConfig::*>(key.field)) {
    return std::to_string(number) + "ms";
  }
  return number;
}

const ConfigKey& key_named(std::string_view name) {
  return *find_config_key(name);
}

TEST(ConfigValueTest, EveryDefaultIsInRangeAndReadsBack) {
  const ServerConfig defaults;
  for (const ConfigKey& key : config_keys()) {
    if (!is_set(defaults, key)) {
      EXPECT_TRUE(!key.unset.empty() || key.name == "model") << key.name << " says no default";
      continue;
    }
    ServerConfig config;
    set_from_text(config, key, value_text(defaults, key));
    EXPECT_EQ(config, defaults) << key.name;
  }
}

TEST(ConfigValueTest, RangesAreInclusiveAndNothingBeyondThemIsTaken) {
  for (const ConfigKey& key : config_keys()) {
    if (!is_number(key)) continue;
    EXPECT_EQ(refusal(key, in_file(key, key.minimum)), "") << key.name;
    EXPECT_EQ(refusal(key, in_file(key, key.maximum)), "") << key.name;
    for (const std::int64_t outside : {key.minimum - 1, key.maximum + 1}) {
      const std::string message = refusal(key, in_file(key, outside));
      EXPECT_THAT(message, HasSubstr(std::string(key.name)));
      EXPECT_THAT(message, HasSubstr(std::to_string(outside)));
      EXPECT_THAT(message, HasSubstr(allowed_text(key)));
    }
  }
}

TEST(ConfigValueTest, ChoicesAreTakenAndOthersRefusedWithTheList) {
  for (const ConfigKey& key : config_keys()) {
    if (key.choices.empty()) continue;
    for (const std::string_view choice : key.choices) {
      EXPECT_EQ(refusal(key, std::string(choice)), "") << key.name;
    }
    const std::string message = refusal(key, std::string("nonsense"));
    EXPECT_THAT(message, HasSubstr(std::string(key.name) + " is \"nonsense\""));
    for (const std::string_view choice : key.choices) {
      EXPECT_THAT(message, HasSubstr(std::string(choice)));
    }
  }
}

TEST(ConfigValueTest, AWrongTypeIsRefusedForEveryKey) {
  for (const ConfigKey& key : config_keys()) {
    const bool boolean = std::holds_alternative<bool ServerConfig::*>(key.field);
    EXPECT_NE(refusal(key, boolean ? ConfigValue(std::int64_t{1}) : ConfigValue(true)), "")
        << key.name;
    const bool text = std::holds_alternative<std::string ServerConfig::*>(key.field);
    EXPECT_NE(refusal(key, text ? ConfigValue(2.5) : ConfigValue("soon")), "") << key.name;
  }
}

TEST(ConfigValueTest, BytesTakeUnits) {
  ServerConfig config;
  const ConfigKey& key = key_named("kv_memory");
  const std::pair<const char*, std::int64_t> cases[] = {
      {"4096", 4096},         {"1KiB", 1024},         {"2KB", 2000},
      {"1.5GiB", 1610612736}, {"2GB", 2'000'000'000}, {"3TiB", 3298534883328LL}};
  for (const auto& [text, bytes] : cases) {
    set_value(config, key, std::string(text));
    EXPECT_EQ(config.kv_memory, bytes) << text;
  }
  for (const char* text : {"", "GiB", "1 GiB", "1gib", "-1GiB", "1e3GiB", "0.0001KiB", "nan"}) {
    EXPECT_ERROR(set_value(config, key, std::string(text)), kInvalidArgument);
  }
}

TEST(ConfigValueTest, TimesTakeUnitsAndPlainNumbersAreSeconds) {
  ServerConfig config;
  const ConfigKey& key = key_named("step_timeout");
  const std::pair<ConfigValue, std::int64_t> cases[] = {
      {"250ms", 250}, {"1.5s", 1500},          {"10min", 600'000}, {"1h", 3'600'000},
      {"2", 2000},    {std::int64_t{3}, 3000}, {0.5, 500}};
  for (const auto& [value, milliseconds] : cases) {
    set_value(config, key, value);
    EXPECT_EQ(config.step_timeout.count(), milliseconds);
  }
  EXPECT_ERROR(set_value(config, key, std::string("1m")), kInvalidArgument);
  EXPECT_ERROR(set_value(config, key, std::string("1.0005s")), kInvalidArgument);
}

TEST(ConfigValueTest, FlagsAreReadAsTheKeysType) {
  ServerConfig config;
  set_from_text(config, key_named("prefix_cache"), "false");
  EXPECT_FALSE(config.prefix_cache);
  EXPECT_ERROR(set_from_text(config, key_named("prefix_cache"), "no"), kInvalidArgument);
  EXPECT_ERROR(set_from_text(config, key_named("port"), "80x"), kInvalidArgument);
  EXPECT_ERROR(set_from_text(config, key_named("port"), "99999999999999999999"), kInvalidArgument);
  // A text that looks like a number stays a text.
  set_from_text(config, key_named("served_model_name"), "7");
  EXPECT_EQ(config.served_model_name, "7");
}

TEST(ConfigValueTest, GuessesWhatTomlWouldRead) {
  EXPECT_EQ(guess_value("true"), ConfigValue(true));
  EXPECT_EQ(guess_value("3"), ConfigValue(std::int64_t{3}));
  EXPECT_EQ(guess_value("0.95"), ConfigValue(0.95));
  EXPECT_EQ(guess_value("gated"), ConfigValue("gated"));
  for (const ConfigValue& value : {ConfigValue(false), ConfigValue(std::int64_t{-4}),
                                   ConfigValue(0.1), ConfigValue(2.0), ConfigValue(1e30)}) {
    EXPECT_EQ(guess_value(toml_text(value)), value);
  }
}

}  // namespace
}  // namespace tessera
