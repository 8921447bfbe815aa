#include <algorithm>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/config/config.h"
#include "coordinator/cli/bench/bench.h"
#include "coordinator/cli/check_config.h"
#include "coordinator/cli/generate_command.h"
#include "coordinator/cli/make_model.h"
#include "coordinator/cli/serve_command.h"

namespace {

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(int argc, const char* const* argv);  // argv[0] is "tessera NAME", for --help
};

constexpr Command kCommands[] = {
    {"serve", "serves a model over HTTP: coordinator and ranks", &tessera::run_serve_command},
    {"generate", "answers one prompt on the terminal", &tessera::run_generate_command},
    {"bench", "measures latency, throughput and accuracy of a server", &tessera::run_bench},
    {"check-config", "prints configuration and memory plan", &tessera::run_check_config},
    {"make-model", "makes a model with random weights, of any size", &tessera::run_make_model},
};

void print_help(std::ostream& out) {
  out << "tessera " << tessera::version() << ": serves block-diffusion language models\n\n"
      << "Usage: tessera COMMAND [arguments], tessera COMMAND --help\n\nCommands:\n";
  for (const Command& command : kCommands) {
    out << "  " << std::left << std::setw(14) << command.name << command.summary << "\n";
  }
}

int run(int argc, char** argv) {
  const std::string_view name = argc > 1 ? argv[1] : "";
  if (name == "--help" || name == "-h") {
    print_help(std::cout);
    return 0;
  }
  const auto* command = std::ranges::find(kCommands, name, &Command::name);
  if (command == std::end(kCommands)) {
    if (!name.empty()) std::cerr << "tessera: there is no command \"" << name << "\"\n\n";
    print_help(std::cerr);
    return 64;
  }
  const std::string program = "tessera " + std::string(name);
  argv[1] = const_cast<char*>(program.c_str());
  return command->run(argc - 1, argv + 1);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const tessera::Error& error) {
    std::cerr << "tessera: " << error.what() << "\n";
    return error.code() == tessera::ErrorCode::kInvalidArgument ? 64 : 1;
  }
}
