#include "coordinator/cli/serve/serve_report.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <iomanip>
#include <sstream>

namespace tessera {
namespace {

constexpr std::string_view kDim = "2";
constexpr std::string_view kBold = "1";
constexpr std::string_view kRed = "1;31";
constexpr std::string_view kGreen = "1;32";
constexpr int kSignalBase = 128;
constexpr std::size_t kSourceWidth = 11;

}  // namespace

std::string ServeReport::painted(std::string_view code, std::string_view text) const {
  if (style_ != ReportStyle::kColours) return std::string(text);
  std::ostringstream out;
  out << "\x1b[" << code << "m" << text << "\x1b[0m";
  return out.str();
}

void ServeReport::line(std::string_view source, std::string_view text) {
  if (style_ == ReportStyle::kJson) return spdlog::info("{}: {}", source, text);
  std::string label(source);
  label.resize(std::max(kSourceWidth, label.size()), ' ');
  out_ << painted(kDim, label + " |") << " " << text << "\n" << std::flush;
}

void ServeReport::pass_on(std::string_view source, std::string_view text) {
  const bool is_json_line = style_ == ReportStyle::kJson && text.starts_with('{');
  if (!is_json_line) return line(source, text);  // mpirun does not speak JSON
  out_ << text << "\n" << std::flush;
}

void ServeReport::ready(const ServerConfig& config,
                        int http_port,
                        std::chrono::nanoseconds since_start) {
  const std::string url = local_url(config.host, http_port);
  const std::string name = served_name(config);
  if (style_ == ReportStyle::kJson) {
    return spdlog::info("{} is ready at {} after {}", name, url, seconds_text(since_start));
  }
  const std::string authorization =
      config.api_key_file.empty() ? "" : " -H 'Authorization: Bearer KEY'";
  out_ << "\n"
       << painted(kGreen, name + " is ready") << " after " << seconds_text(since_start) << "\n\n"
       << "  page     " << painted(kBold, url + "/") << "\n"
       << "  API      " << painted(kBold, url + "/v1") << "  (OpenAI; model \"" << name << "\")\n"
       << "  metrics  " << painted(kBold, url + "/metrics") << "\n"
       << "  try      curl " << url << "/v1/chat/completions -H 'Content-Type: application/json'"
       << authorization << " \\\n             -d '{\"model\": \"" << name
       << "\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n\n"
       << "Ctrl-C lets open requests finish, then ends; twice ends at once.\n\n"
       << std::flush;
}

void ServeReport::failure(const std::string& what,
                          const std::deque<std::string>& last_lines,
                          const std::string& advice) {
  if (style_ == ReportStyle::kJson) return spdlog::error("{}. What to do: {}", what, advice);
  out_ << "\n" << painted(kRed, "tessera serve: " + what) << "\n";
  if (!last_lines.empty()) out_ << "Its last lines:\n";
  for (const std::string& line : last_lines) out_ << "  " << line << "\n";
  if (!advice.empty()) out_ << "What to do: " << advice << "\n";
  out_ << std::flush;
}

std::string local_url(const std::string& host, int port) {
  std::string name = host;
  if (host == "0.0.0.0") name = "127.0.0.1";
  if (host == "::") name = "::1";
  if (name.find(':') != std::string::npos) name = "[" + name + "]";
  return "http://" + name + ":" + std::to_string(port);
}

std::string exit_text(int exit_code) {
  if (exit_code <= kSignalBase) return "exit code " + std::to_string(exit_code);
  const int number = exit_code - kSignalBase;
  const char* name = sigdescr_np(number);
  return "signal " + std::to_string(number) + (name ? std::string(", ") + name : "");
}

std::string exit_advice(int exit_code) {
  switch (exit_code) {
    case 64:
      return "correct the flag or key that is named above; `tessera serve --help` lists all, "
             "`tessera check-config MODEL_DIR ...` prints what holds.";
    case 65:
      return "the model could not be loaded. The directory must hold config.json, tokenizer.json "
             "(or vocab.json and merges.txt) and *.safetensors as Hugging Face publishes them, of "
             "an architecture that is supported.";
    case 66:
      return "a device or the exchange between ranks failed. Try --backend cpu, or --communicator "
             "mpi.";
    case 69:
      return "no replica ever became ready. If loading only takes long, raise --join-timeout; "
             "else the lines above say what ends the ranks.";
    case 126:
    case 127: return "a program is missing: install packages with deploy/install.sh and build.";
    case kSignalBase + SIGILL:
      return "the processor lacks an instruction: try --instruction-set avx2.";
    case kSignalBase + SIGBUS: return "memory ran out, perhaps /dev/shm: make it larger.";
    case kSignalBase + SIGKILL:
      return "somebody killed it, or memory ran out (see dmesg): lower --kv-memory or "
             "--max-step-rows; `tessera check-config` prints what each rank needs.";
    default: return "this should not happen; please report it with the lines above.";
  }
}

std::string count_text(std::int64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string seconds_text(std::chrono::nanoseconds duration) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << std::chrono::duration<double>(duration).count()
       << " s";
  return text.str();
}

}  // namespace tessera
