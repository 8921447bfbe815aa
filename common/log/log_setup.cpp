#include "common/log/log_setup.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <utility>

#include "common/base/error.h"

namespace tessera {
namespace {

/// %*: the message as the inside of a JSON string.
class JsonMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message,
              const std::tm& /*time*/,
              spdlog::memory_buf_t& out) override {
    for (const char c : message.payload) append(c, out);
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonMessage>();
  }

 private:
  static void append(char c, spdlog::memory_buf_t& out) {
    constexpr char kDigits[] = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20) {
      for (const char digit : {'\\', 'u', '0', '0', kDigits[byte >> 4], kDigits[byte & 15]}) {
        out.push_back(digit);
      }
    } else {
      out.push_back(c);
    }
  }
};

spdlog::level::level_enum level_of(const std::string& name) {
  const spdlog::level::level_enum level = spdlog::level::from_str(name);
  TESSERA_REQUIRE(name == "debug" || name == "info" || name == "warning" || name == "error",
                  "log_level is \"", name, "\"; allowed: debug, info, warning, error");
  return level;
}

}  // namespace

void set_up_log(const std::string& level, const std::string& format, const std::string& source) {
  TESSERA_REQUIRE(format == "text" || format == "json", "log_format is \"", format,
                  "\"; allowed: text, json");
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  auto logger = std::make_shared<spdlog::logger>(source, std::move(sink));
  if (format == "json") {
    auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
    formatter->add_flag<JsonMessage>('*').set_pattern(
        R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","source":"%n","message":"%*"})");
    logger->set_formatter(std::move(formatter));
  } else {
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %n: %v");
  }
  logger->set_level(level_of(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace tessera
