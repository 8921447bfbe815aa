#include "coordinator/cli/generate_command.h"

#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include "common/base/error.h"
#include "coordinator/cli/client/http_client.h"
#include "coordinator/cli/client/server_process.h"
#include "coordinator/cli/generate/answer_printer.h"
#include "coordinator/cli/generate/generate_options.h"

namespace tessera {
namespace {

std::string prompt_text(const GenerateOptions& options) {
  if (options.prompt != "-") return options.prompt;
  std::string text(std::istreambuf_iterator<char>(std::cin), {});
  // The newline that ends a line of a shell is not part of the prompt.
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

std::string api_key(const GenerateOptions& options) {
  if (options.api_key_file.empty()) return {};
  std::ifstream file(options.api_key_file);
  std::string key;
  TESSERA_REQUIRE(std::getline(file, key), "cannot read a key from ", options.api_key_file);
  return key;
}

std::unique_ptr<ServerProcess> start_server(const GenerateOptions& options) {
  const bool is_terminal = isatty(STDERR_FILENO) == 1;
  if (is_terminal)
    std::cerr << "starting a server for " << options.model_dir << " ..." << std::flush;
  std::vector<std::string> arguments = {options.model_dir};
  arguments.insert(arguments.end(), options.serve_flags.begin(), options.serve_flags.end());
  auto server = std::make_unique<ServerProcess>(arguments);
  if (is_terminal) std::cerr << "\r\x1b[K" << std::flush;
  return server;
}

/// @return The exit code.
int ask(const GenerateOptions& options, const ServerUrl& server) {
  const bool shows_denoising = options.show_denoising && isatty(STDOUT_FILENO) == 1;
  HttpCall call;
  call.server = server;
  call.target = generate_target(options);
  call.api_key = api_key(options);
  call.body = generate_body(options, prompt_text(options), shows_denoising).dump();
  AnswerPrinter printer(shows_denoising);
  const auto begin = std::chrono::steady_clock::now();
  const HttpAnswer answer = blocking_http_request(
      call, [&](std::string_view payload) { printer.take(parse_stream_chunk(payload)); });
  const auto duration = std::chrono::steady_clock::now() - begin;
  if (answer.status == 200) printer.finish();
  if (printer.error() || !answer.is_ok() || !answer.is_done) {
    std::cerr << "tessera generate: "
              << printer.error().value_or(answer.is_ok() ? "the answer was cut"
                                                         : error_message(answer))
              << "\n";
    return 1;
  }
  std::cerr << "\n" << printer.summary(duration) << "\n";
  return 0;
}

}  // namespace

int run_generate_command(int argc, const char* const* argv) {
  const auto options = parse_generate_options(argc, argv, std::cout);
  if (!options) return 0;
  if (!options->server.empty()) return ask(*options, parse_url(options->server));
  const auto server = start_server(*options);
  return ask(*options, server->url());
}

}  // namespace tessera
