// Overhead of an engine step: everything but the model. Prints measured values, targets, ratios.
#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/serving/cluster_times.h"
#include "benchmarks/serving/phase_times.h"
#include "common/base/error.h"

namespace tessera {
namespace {

struct Target {
  std::int32_t num_requests;
  double median_us;
};

constexpr Target kTargets[] = {{1, 150.0}, {16, 200.0}, {64, 350.0}};
constexpr std::int32_t kLengths[] = {100, 1'000, 10'000, 100'000};

double percentile_of(std::vector<double> values, double fraction) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(fraction * static_cast<double>(values.size() - 1))];
}

double median(const std::vector<double>& values) {
  return percentile_of(values, 0.5);
}

double p99(const std::vector<double>& values) {
  return percentile_of(values, 0.99);
}

/// The phases of one load; what the step takes beyond them is ZeroMQ and waking up, both ways.
void print_load(const Target& target, std::int32_t block_size, const std::string& endpoint) {
  OverheadLoad load;
  load.num_requests = target.num_requests;
  load.block_size = block_size;
  const PhaseTimes phases = measure_phases(load);
  const ClusterTimes cluster = measure_cluster(load, endpoint);
  const ClusterTimes server = measure_server(load, endpoint);
  const double known = median(phases.schedule) + median(phases.encode) + median(phases.decode) +
                       median(phases.encode_result) + median(phases.decode_result) +
                       median(phases.apply) + median(cluster.executor);
  const double total = median(cluster.step);
  const double with_streams = median(server.step);
  std::printf(
      "| %3d x %2d | %8.1f | %6.1f | %6.1f | %13.1f | %13.1f | %5.1f | %5.1f | %5.1f | %6.1f | "
      "%6.1f | %6.1f | %6.1f | %6.0f | %4.2f | %5.1f |\n",
      load.num_requests, load.block_size, median(phases.schedule), median(phases.encode),
      median(phases.decode), median(phases.encode_result), median(phases.decode_result),
      median(phases.apply), median(cluster.executor), std::max(total - known, 0.0), total,
      p99(cluster.step), with_streams, p99(server.step), target.median_us,
      with_streams / target.median_us, phases.frame_bytes / 1024);
  std::fflush(stdout);
}

void print_lengths(std::int32_t num_requests, const std::string& endpoint) {
  for (const std::int32_t length : kLengths) {
    OverheadLoad load;
    load.num_requests = num_requests;
    load.prompt_len = length;
    load.num_steps = 1000;
    const PhaseTimes phases = measure_phases(load);
    const ClusterTimes cluster = measure_cluster(load, endpoint);
    std::printf("| %7d | %8d | %8.1f | %8.1f | %6.1f | %5.1f | %6.1f | %6.1f |\n", length,
                num_requests, median(phases.schedule), p99(phases.schedule), median(phases.encode),
                median(phases.apply), median(cluster.step), p99(cluster.step));
    std::fflush(stdout);
  }
}

void print_all(const std::string& endpoint) {
  std::printf("Coordinator and one rank (a process) over %s; medians in microseconds.\n\n",
              endpoint.c_str());
  std::printf(
      "| requests x rows | schedule | encode | decode | encode result | decode result | apply | "
      "model | wire | step p50 | step p99 | with streams p50 | p99 | target | ratio | plan KiB |\n"
      "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
  for (const std::int32_t block_size : {4, 32}) {
    for (const Target& target : kTargets) print_load(target, block_size, endpoint);
  }
  std::printf(
      "\n| prompt tokens | requests | schedule | schedule p99 | encode | apply | step p50 | step "
      "p99 |\n|--:|--:|--:|--:|--:|--:|--:|--:|\n");
  print_lengths(1, endpoint);
  print_lengths(16, endpoint);
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  if (argc > 2 || (argc == 2 && std::string_view(argv[1]) == "--help")) {
    std::printf(
        "Usage: engine_overhead [ENDPOINT]\n\nMeasures what an engine step costs beside the model: "
        "scheduling, the codec, ZeroMQ there and\nback, applying. ENDPOINT is where the "
        "coordinator listens [tcp://127.0.0.1:*].\n");
    return argc > 2 ? 64 : 0;
  }
  try {
    tessera::print_all(argc == 2 ? argv[1] : "tcp://127.0.0.1:*");
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "engine_overhead: %s\n", error.what());
    return 1;
  }
  return 0;
}
