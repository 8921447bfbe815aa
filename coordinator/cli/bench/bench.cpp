#include "coordinator/cli/bench/bench.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <optional>
#include <sstream>

#include "common/base/error.h"
#include "coordinator/cli/bench/bench_options.h"
#include "coordinator/cli/bench/bench_report.h"
#include "coordinator/cli/bench/bench_session.h"
#include "coordinator/cli/client/server_process.h"

namespace tessera {
namespace {

constexpr int kRequestsFailed = 2;
constexpr int kBelowMinimum = 3;

void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  TESSERA_REQUIRE(file.good(), "cannot write ", path);
}

/// A run may take an hour: that a file cannot be written must be known before.
void check_writable(const std::string& path) {
  if (path.empty()) return;
  TESSERA_REQUIRE(std::ofstream(path, std::ios::binary | std::ios::app).good(), "cannot write ",
                  path);
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::ostringstream text;
  text << std::put_time(&parts, "%Y-%m-%dT%H:%M:%SZ");
  return text.str();
}

bool is_below_minimum(const LevelSummary& level, const BenchOptions& options) {
  const auto complain = [&](const char* what, double is, double wanted) {
    std::cerr << "tessera bench: " << what << " at " << level.level.name() << " is " << is
              << ", below " << wanted << "\n";
    return true;
  };
  bool is_below = false;
  if (options.min_accuracy) {
    TESSERA_REQUIRE(level.accuracy || level.num_ok == 0,
                    "--min-accuracy: no problem of the data set has an answer");
    const double percent = level.accuracy ? level.accuracy->percent() : 0.0;
    if (percent < *options.min_accuracy) {
      is_below |= complain("accuracy", percent, *options.min_accuracy);
    }
  }
  if (options.min_goodput && level.goodput.value_or(0.0) < *options.min_goodput) {
    is_below |= complain("goodput", level.goodput.value_or(0.0), *options.min_goodput);
  }
  return is_below;
}

int exit_code(const BenchRun& run, const BenchOptions& options) {
  bool is_below = false;
  for (const LevelSummary& level : run.summaries) is_below |= is_below_minimum(level, options);
  const bool has_failures = std::ranges::any_of(
      run.summaries, [](const LevelSummary& level) { return level.num_ok < level.num_requests; });
  return has_failures ? kRequestsFailed : is_below ? kBelowMinimum : 0;
}

}  // namespace

int run_bench(int argc, const char* const* argv) {
  const std::optional<BenchOptions> options = read_bench_options(argc, argv, std::cout);
  if (!options) return 0;
  check_writable(options->json_path);
  check_writable(options->plot_path);

  std::optional<ServerProcess> own_server;
  if (options->server_url.empty()) own_server.emplace(options->serve_arguments);
  const ServerUrl url = own_server ? own_server->url() : parse_url(options->server_url);
  std::ostream* progress =
      options->shows_progress && ::isatty(STDERR_FILENO) == 1 ? &std::cerr : nullptr;

  BenchRun run = BenchSession(*options, url, progress).run();
  run.machine = machine_facts();
  run.time = utc_now();
  std::cout << report_markdown(run) << std::flush;
  if (!options->json_path.empty()) {
    write_file(options->json_path, report_json(run, *options).dump(1) + "\n");
  }
  if (!options->plot_path.empty()) write_file(options->plot_path, report_svg(run));
  return exit_code(run, *options);
}

}  // namespace tessera
